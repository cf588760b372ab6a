//! Configuration as TOML text: reading with places, diagnostics with line and caret, writing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use proto::config::Config;
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{Problem, Subject};
use super::{read, validate};

/// Problems of one text that are shown; the rest are counted.
const SHOWN_MAX: usize = 20;
/// Octets of a line that is shown with a caret; a longer one is only named.
const LINE_MAX: usize = 300;

/// Where things stand in a text: octet ranges of key and value.
#[derive(Default)]
struct Places {
    subjects: BTreeMap<Subject, Range<usize>>,
    keys: BTreeMap<(Subject, String), (Range<usize>, Range<usize>)>,
}

impl Places {
    fn of(&self, problem: &Problem) -> Option<Range<usize>> {
        let at_key = problem.key.as_ref().and_then(|key| self.keys.get(&(problem.subject.clone(), key.clone())));
        match at_key {
            Some((key, _)) if problem.on_key => Some(key.clone()),
            Some((_, value)) => Some(value.clone()),
            None => self.subjects.get(&problem.subject).cloned(),
        }
    }
}

/// Reads and checks a whole configuration. `file` is its name in messages.
///
/// # Errors
///
/// All problems (up to 20 of them in full) as text for people: message, line and caret, remedy.
pub fn load(text: &str, file: &str) -> Result<Config, String> {
    let (tree, errors) = DeTable::parse_recoverable(text);
    let mut found: Vec<(Option<Range<usize>>, String, Option<String>)> =
        errors.iter().map(|error| (error.span(), format!("not valid TOML: {}", error.message()), None)).collect();
    // After a duplicate key the tree is sound; after any other error what follows may be misread.
    if errors.iter().all(|error| error.message().contains("duplicate key")) {
        let mut places = Places::default();
        let tree = root(tree.into_inner(), &mut places);
        let (config, mut problems) = read::config(&tree);
        let broken: BTreeSet<Subject> = problems.iter().map(|problem| problem.subject.clone()).collect();
        let consequence =
            |problem: &Problem| broken.contains(&problem.subject) || problem.related.iter().any(|subject| broken.contains(subject));
        problems.extend(validate(&config).into_iter().filter(|problem| !consequence(problem)));
        found.extend(problems.iter().map(|problem| (places.of(problem), problem.headline(), problem.help.clone())));
        if found.is_empty() {
            return Ok(config);
        }
    }
    found.sort_by_key(|(span, ..)| span.as_ref().map_or(usize::MAX, |span| span.start));
    let mut report: Vec<String> =
        found.iter().take(SHOWN_MAX).map(|(span, message, help)| render(text, file, span.as_ref(), message, help.as_deref())).collect();
    if found.len() > SHOWN_MAX {
        report.push(format!("{file}: {} more problems", found.len() - SHOWN_MAX));
    }
    Err(report.join("\n"))
}

/// Writes a configuration; [`load`] reads the same back.
///
/// # Panics
///
/// Never: every value of the types has a TOML form.
pub fn to_toml(config: &Config) -> String {
    toml::to_string(config).expect("every configuration has a TOML form")
}

/// One problem with its line and caret.
fn render(text: &str, file: &str, span: Option<&Range<usize>>, message: &str, help: Option<&str>) -> String {
    let Some(span) = span else { return plain(&format!("{file}: {message}"), help) };
    let start = floor(text, span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let number = text[..line_start].bytes().filter(|octet| *octet == b'\n').count() + 1;
    if line_end - line_start > LINE_MAX {
        return plain(&format!("{file}:{number}:{}: {message}", start - line_start + 1), help);
    }
    // Only the line itself is given to the renderer, so that the cost does not grow with the text.
    let end = floor(text, span.end).clamp(start, line_end);
    let snippet = Snippet::source(&text[line_start..line_end])
        .line_start(number)
        .path(file)
        .annotation(AnnotationKind::Primary.span(start - line_start..end - line_start));
    let group = Level::ERROR.primary_title(message).element(snippet);
    let group = match help {
        Some(help) => group.element(Level::HELP.message(help)),
        None => group,
    };
    Renderer::plain().render(&[group])
}

fn plain(message: &str, help: Option<&str>) -> String {
    match help {
        Some(help) => format!("error: {message}\n  help: {help}"),
        None => format!("error: {message}"),
    }
}

/// The nearest character boundary at or below `at`.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

fn root(table: DeTable<'_>, places: &mut Places) -> Map<String, Value> {
    let mut tree = Map::new();
    for (key, value) in table {
        let key_span = key.span();
        let key = key.into_inner().into_owned();
        places.keys.insert((Subject::Whole, key.clone()), (key_span.clone(), value.span()));
        let value = match (key.as_str(), value.into_inner()) {
            ("daemon", DeValue::Table(table)) => Value::Object(subject(Subject::Daemon, key_span, table, places)),
            ("switch", DeValue::Table(table)) => Value::Object(named(Subject::Switch, table, places)),
            ("port", DeValue::Table(table)) => Value::Object(named(Subject::Port, table, places)),
            ("fdb", DeValue::Array(entries)) => numbered(Subject::Fdb, entries, places),
            ("router", DeValue::Table(table)) => Value::Object(named(Subject::Router, table, places)),
            (_, other) => json(other),
        };
        tree.insert(key, value);
    }
    tree
}

fn numbered(make: impl Fn(usize) -> Subject, entries: DeArray<'_>, places: &mut Places) -> Value {
    let entries = entries.into_iter().enumerate().map(|(index, entry)| {
        let span = entry.span();
        let at = make(index);
        places.subjects.insert(at.clone(), span.clone());
        match entry.into_inner() {
            DeValue::Table(table) => Value::Object(subject(at, span, table, places)),
            other => json(other),
        }
    });
    Value::Array(entries.collect())
}

fn named(make: impl Fn(String) -> Subject, table: DeTable<'_>, places: &mut Places) -> Map<String, Value> {
    let mut tree = Map::new();
    for (key, value) in table {
        let span = key.span();
        let name = key.into_inner().into_owned();
        let at = make(name.clone());
        places.subjects.insert(at.clone(), span.clone());
        let value = match value.into_inner() {
            DeValue::Table(table) => Value::Object(subject(at, span, table, places)),
            other => json(other),
        };
        tree.insert(name, value);
    }
    tree
}

fn subject(at: Subject, span: Range<usize>, table: DeTable<'_>, places: &mut Places) -> Map<String, Value> {
    places.subjects.insert(at.clone(), span);
    let mut tree = Map::new();
    for (key, value) in table {
        let spans = (key.span(), value.span());
        let key = key.into_inner().into_owned();
        places.keys.insert((at.clone(), key.clone()), spans.clone());
        let value = match (&at, key.as_str(), value.into_inner()) {
            (Subject::Port(name), "bond", DeValue::Table(table)) => {
                Value::Object(subject(Subject::Bond(name.clone()), spans.0, table, places))
            }
            (Subject::Port(name), "member", DeValue::Table(table)) => {
                Value::Object(named(|member| Subject::Member(name.clone(), member), table, places))
            }
            (Subject::Chain(..) | Subject::Set(..), _, DeValue::Array(entries)) => {
                for (n, entry) in entries.iter().enumerate() {
                    places.keys.insert((at.clone(), format!("{key} {}", n + 1)), (spans.0.clone(), entry.span()));
                }
                json(DeValue::Array(entries))
            }
            (Subject::Interface(router, name), _, DeValue::Table(table)) if let Some(key) = read::neigh_key(&key) => {
                Value::Object(subject(Subject::InterfaceNeigh(router.clone(), name.clone(), key), spans.0, table, places))
            }
            (Subject::Router(name), _, below) => router(name, &key, spans.0, below, places),
            (_, _, other) => json(other),
        };
        tree.insert(key, value);
    }
    tree
}

/// The value of a key of a router.
fn router(name: &str, key: &str, span: Range<usize>, value: DeValue<'_>, places: &mut Places) -> Value {
    let name = name.to_owned();
    match (key, value) {
        ("interface", DeValue::Table(table)) => {
            Value::Object(named(|interface| Subject::Interface(name.clone(), interface), table, places))
        }
        ("conntrack", DeValue::Table(table)) => Value::Object(subject(Subject::Conntrack(name), span, table, places)),
        (key, DeValue::Table(table)) if let Some(key) = read::neigh_key(key) => {
            Value::Object(subject(Subject::Neigh(name, key), span, table, places))
        }
        ("nat", DeValue::Table(table)) => Value::Object(subject(Subject::Nat(name), span, table, places)),
        ("route", DeValue::Array(entries)) => numbered(|index| Subject::Route(name.clone(), index), entries, places),
        ("neighbor", DeValue::Array(entries)) => numbered(|index| Subject::Neighbor(name.clone(), index), entries, places),
        ("forward", DeValue::Array(entries)) => numbered(|index| Subject::Forward(name.clone(), index), entries, places),
        ("iptables", DeValue::Table(tables)) => rules(&name, "iptables", tables, places),
        ("ip6tables", DeValue::Table(tables)) => rules(&name, "ip6tables", tables, places),
        ("ipset", DeValue::Table(sets)) => Value::Object(named(|set| Subject::Set(name.clone(), set), sets, places)),
        (_, other) => json(other),
    }
}

/// The tables of rules of a family.
fn rules(router: &str, family: &'static str, tables: DeTable<'_>, places: &mut Places) -> Value {
    let mut tree = Map::new();
    for (table, chains) in tables {
        let table = table.into_inner().into_owned();
        let make = |chain| Subject::Chain(router.to_owned(), family, table.clone(), chain);
        let value = match chains.into_inner() {
            DeValue::Table(chains) => Value::Object(named(make, chains, places)),
            other => json(other),
        };
        tree.insert(table, value);
    }
    Value::Object(tree)
}

/// A TOML value as JSON. What JSON cannot say becomes a text, which no key of ours takes by accident.
fn json(value: DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.into_owned()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(wide) if i64::try_from(wide).is_ok() => Value::from(wide as i64),
            Ok(wide) if u64::try_from(wide).is_ok() => Value::from(wide as u64),
            _ => Value::String(number.as_str().to_owned()),
        },
        DeValue::Float(number) => {
            let finite = number.as_str().parse::<f64>().ok().and_then(serde_json::Number::from_f64);
            finite.map_or_else(|| Value::String(number.as_str().to_owned()), Value::Number)
        }
        DeValue::Boolean(value) => Value::Bool(value),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(values) => Value::Array(values.into_iter().map(Spanned::into_inner).map(json).collect()),
        DeValue::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key.into_inner().into_owned(), json(value.into_inner()))).collect())
        }
    }
}
