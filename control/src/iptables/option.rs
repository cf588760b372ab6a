//! What matches and targets ("modules") have in common: options with values, read by tables, printed in canonical form.

use dataplane::router::{Address, Family};
use wire::MacAddr;

/// A match or target, and the options it has.
#[derive(Debug)]
pub struct Module {
    /// Name after `-m` or `-j`.
    pub name: &'static str,
    /// The only family it exists in.
    pub family: Option<Family>,
    /// The protocols `-p` must name one of; any when empty.
    pub protocols: &'static [u8],
    /// Its options, in the order in which they are printed.
    pub options: &'static [Opt],
    /// Completes and checks options that were read.
    pub finish: fn(&mut Clause, Family) -> Result<(), String>,
    /// What `-L` prints for it, without the blank in front.
    pub list: fn(&Clause, &Listing<'_>) -> String,
}

/// How `-L` prints.
#[derive(Clone, Copy, Debug)]
pub struct Listing<'l> {
    /// `-n`.
    pub numeric: bool,
    /// The protocol of the rule as it is printed.
    pub protocol: &'l str,
    /// Family of the rule.
    pub family: Family,
}

/// An option of a module.
#[derive(Debug)]
pub struct Opt {
    /// Its names without `--`, the usual one first.
    pub names: &'static [&'static str],
    /// The name it is printed by. Options that print alike exclude each other.
    pub print: &'static str,
    /// How many words follow.
    pub words: usize,
    /// Whether `!` may be in front.
    pub negatable: bool,
    /// Reads the words.
    pub read: Read,
}

/// Reads the words of an option; the error says what is wrong with them.
pub type Read = fn(&[&str], Family) -> Result<Value, String>;

impl Opt {
    /// An option with one word.
    pub const fn new(names: &'static [&'static str], read: Read) -> Opt {
        Opt { names, print: names[0], words: 1, negatable: false, read }
    }

    /// An option without words.
    pub const fn flag(names: &'static [&'static str]) -> Opt {
        Opt { words: 0, ..Opt::new(names, |_, _| Ok(Value { text: String::new(), data: Data::None })) }
    }

    /// The same, with two words.
    pub const fn two(self) -> Opt {
        Opt { words: 2, ..self }
    }

    /// The same, and `!` may be in front.
    pub const fn not(self) -> Opt {
        Opt { negatable: true, ..self }
    }

    /// The same, printed by another name.
    pub const fn prints(self, print: &'static str) -> Opt {
        Opt { print, ..self }
    }
}

/// The value of an option: as it is printed, and as it is understood.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// Canonical text.
    pub text: String,
    /// Meaning.
    pub data: Data,
}

/// What an option can mean.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// The option is there.
    None,
    /// A number, or a set of bits.
    Number(u32),
    /// Two numbers: a range, or a value and its mask.
    Pair(u32, u32),
    /// Ranges of ports.
    Ports(Vec<(u16, u16)>),
    /// Addresses under a mask.
    Network(Address, u128),
    /// First and last address.
    Addresses(Address, Address),
    /// What NAT translates to: addresses, ports, base port.
    Nat(Option<(Address, Address)>, Option<(u16, u16)>, Option<u16>),
    /// A MAC address.
    Mac(MacAddr),
    /// A text.
    Text(String),
}

/// An option that was given.
#[derive(Clone, Debug)]
pub struct Arg {
    /// Which.
    pub option: &'static Opt,
    /// Whether `!` was in front.
    pub negated: bool,
    /// Its value.
    pub value: Value,
}

/// A match or target of a rule.
#[derive(Clone, Debug)]
pub struct Clause {
    /// Which.
    pub module: &'static Module,
    /// Its options, in canonical order once [`Clause::finish`] was called.
    pub args: Vec<Arg>,
}

impl Clause {
    /// One without options.
    pub fn new(module: &'static Module) -> Clause {
        Clause { module, args: Vec::new() }
    }

    /// The option that is printed by this name.
    pub fn get(&self, print: &str) -> Option<&Arg> {
        self.args.iter().find(|arg| arg.option.print == print)
    }

    /// Whether the option is there.
    pub fn has(&self, print: &str) -> bool {
        self.get(print).is_some()
    }

    /// The text of an option, empty without it.
    pub fn text(&self, print: &str) -> &str {
        self.get(print).map_or("", |arg| &arg.value.text)
    }

    /// The number of an option.
    pub fn number(&self, print: &str) -> Option<u32> {
        match self.get(print)?.value.data {
            Data::Number(number) => Some(number),
            _ => None,
        }
    }

    /// Adds an option.
    ///
    /// # Errors
    ///
    /// When it is there already, or another one that excludes it.
    pub fn push(&mut self, option: &'static Opt, negated: bool, value: Value) -> Result<(), String> {
        if let Some(other) = self.args.iter().find(|arg| arg.option.print == option.print) {
            let (a, b) = (other.option.names[0], option.names[0]);
            return Err(if a == b { format!("option --{a} is given twice") } else { format!("--{a} and --{b} exclude each other") });
        }
        self.args.push(Arg { option, negated, value });
        Ok(())
    }

    /// Adds the option that is printed by this name, if it is not there.
    pub fn default(&mut self, print: &str, words: &[&str], family: Family) -> Result<(), String> {
        let Some(option) = self.module.options.iter().find(|option| option.print == print) else { return Ok(()) };
        if !self.has(print) {
            self.args.push(Arg { option, negated: false, value: (option.read)(words, family)? });
        }
        Ok(())
    }

    /// Completes it once all options were read.
    ///
    /// # Errors
    ///
    /// When an option is missing, or they do not go together.
    pub fn finish(&mut self, family: Family) -> Result<(), String> {
        (self.module.finish)(self, family)?;
        let place = |arg: &Arg| self.module.options.iter().position(|option| option.print == arg.option.print);
        self.args.sort_by_key(place);
        Ok(())
    }

    /// Its options as `iptables -S` prints them, with a blank in front of each.
    pub fn save(&self, text: &mut String) {
        for arg in &self.args {
            if arg.negated {
                text.push_str(" !");
            }
            text.push_str(" --");
            text.push_str(arg.option.print);
            if !arg.value.text.is_empty() {
                text.push(' ');
                text.push_str(&arg.value.text);
            }
        }
    }
}

/// [`Module::finish`] of modules that need no option.
pub fn optional(_: &mut Clause, _: Family) -> Result<(), String> {
    Ok(())
}

/// [`Module::finish`] of modules that need at least one.
///
/// # Errors
///
/// When there is none.
pub fn some(clause: &mut Clause, _: Family) -> Result<(), String> {
    if !clause.args.is_empty() {
        return Ok(());
    }
    let names: Vec<String> = clause.module.options.iter().map(|option| format!("--{}", option.names[0])).collect();
    Err(match names.as_slice() {
        [one] => format!("{one} is missing"),
        _ => format!("one of {} is missing", names.join(", ")),
    })
}
