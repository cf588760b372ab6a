//! The order of rounds: for each scenario A B C A B C ..., so that a slow minute of the machine meets all systems.

use crate::interrupt;
use crate::report::{self, Configuration, Report, Round, ScenarioResult, SubjectResult};
use crate::scenario::{Scenario, Settings, Subject};
use crate::system::{self, System};

/// What to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The scenarios, in order.
    pub scenarios: Vec<Scenario>,
    /// The systems; those a scenario does not know are left out there.
    pub systems: Vec<System>,
    /// Rounds for each.
    pub rounds: u32,
    /// For every round.
    pub settings: Settings,
}

/// Runs everything, saying how far it is on standard error. What fails is in the report, with the reason; after a signal
/// the report has what was finished before.
pub fn run(plan: &Plan, report: &mut Report) {
    for scenario in &plan.scenarios {
        let subjects = chosen(*scenario, &plan.systems);
        if subjects.is_empty() || interrupt::came() {
            continue;
        }
        let result = run_scenario(*scenario, &subjects, plan, &mut report.configurations);
        report.scenarios.push(result);
    }
}

fn chosen(scenario: Scenario, systems: &[System]) -> Vec<Subject> {
    let is_chosen = |subject: &Subject| match subject {
        Subject::System(system) => systems.contains(system),
        Subject::Entries(_) => true,
    };
    scenario.subjects().iter().copied().filter(is_chosen).collect()
}

fn run_scenario(scenario: Scenario, subjects: &[Subject], plan: &Plan, configurations: &mut Vec<Configuration>) -> ScenarioResult {
    let lacking = scenario.lacking();
    let mut results: Vec<SubjectResult> = subjects.iter().map(|subject| SubjectResult::new(*subject)).collect();
    for result in &mut results {
        if let Subject::System(system) = result.subject
            && let Some(reason) = system.lacking()
        {
            report::warn(&format!("{scenario}: {system}: {reason}"));
            result.failure = Some(reason);
            result.is_absent = true;
        }
    }
    for round in 1..=plan.rounds {
        for result in &mut results {
            // A figure needs all rounds; one that failed is not tried again.
            if result.failure.is_some() {
                continue;
            }
            report::progress(&format!("{scenario}: {}, round {round} of {}", result.subject, plan.rounds));
            let outcome = match &lacking {
                Some(lacking) => Err(anyhow::anyhow!("{lacking}")),
                None => interrupt::check().and_then(|()| scenario.round(result.subject, &plan.settings)),
            };
            match outcome {
                Ok(mut sample) => {
                    Configuration::note(configurations, result.subject, scenario, std::mem::take(&mut sample.configuration));
                    result.rounds.push(Round { round, sample });
                }
                Err(error) => {
                    let failure = format!("{error:#}");
                    report::warn(&format!("{scenario}: {}: {failure}", result.subject));
                    result.is_absent = error.chain().any(|cause| cause.is::<system::NotAvailable>());
                    result.failure = Some(failure);
                }
            }
        }
    }
    let cores = scenario.load().map(|load| plan.settings.cores(load));
    ScenarioResult::new(scenario, cores, results)
}
