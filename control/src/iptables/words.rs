//! The words of a command line as options and values (`getopt_long`).

use super::rule::{Place, Reader};

/// An option of the programs themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Global {
    Append,
    Delete,
    Check,
    Insert,
    Replace,
    List,
    ListRules,
    Flush,
    Zero,
    NewChain,
    DeleteChain,
    RenameChain,
    Policy,
    Table,
    Verbose,
    Numeric,
    Exact,
    LineNumbers,
    Wait,
    WaitInterval,
    Help,
    Version,
    Ipv4,
    Ipv6,
    Modprobe,
    Source,
    Destination,
    InInterface,
    OutInterface,
    Protocol,
    Fragment,
    Match,
    Jump,
    Goto,
    Counters,
}

use Global::*;

/// Long name, meaning, letter. The first of several names is the usual one.
const GLOBALS: [(&str, Global, char); 39] = [
    ("append", Append, 'A'),
    ("delete", Delete, 'D'),
    ("check", Check, 'C'),
    ("insert", Insert, 'I'),
    ("replace", Replace, 'R'),
    ("list", List, 'L'),
    ("list-rules", ListRules, 'S'),
    ("flush", Flush, 'F'),
    ("zero", Zero, 'Z'),
    ("new-chain", NewChain, 'N'),
    ("delete-chain", DeleteChain, 'X'),
    ("rename-chain", RenameChain, 'E'),
    ("policy", Policy, 'P'),
    ("table", Table, 't'),
    ("verbose", Verbose, 'v'),
    ("numeric", Numeric, 'n'),
    ("exact", Exact, 'x'),
    ("line-numbers", LineNumbers, '\0'),
    ("wait", Wait, 'w'),
    ("wait-interval", WaitInterval, 'W'),
    ("help", Help, 'h'),
    ("version", Version, 'V'),
    ("ipv4", Ipv4, '4'),
    ("ipv6", Ipv6, '6'),
    ("modprobe", Modprobe, 'M'),
    ("source", Source, 's'),
    ("src", Source, 's'),
    ("destination", Destination, 'd'),
    ("dst", Destination, 'd'),
    ("in-interface", InInterface, 'i'),
    ("out-interface", OutInterface, 'o'),
    ("protocol", Protocol, 'p'),
    ("proto", Protocol, 'p'),
    ("fragment", Fragment, 'f'),
    ("fragments", Fragment, 'f'),
    ("match", Match, 'm'),
    ("jump", Jump, 'j'),
    ("goto", Goto, 'g'),
    ("set-counters", Counters, 'c'),
];

/// Long names and what they mean.
pub fn globals() -> impl Iterator<Item = (&'static str, Global)> {
    GLOBALS.iter().map(|(name, global, _)| (*name, *global))
}

impl Global {
    /// Its usual long name.
    pub fn name(self) -> &'static str {
        GLOBALS.iter().find(|(_, global, _)| *global == self).map_or("", |(name, ..)| name)
    }

    /// Whether it belongs to a rule.
    pub fn is_rule(self) -> bool {
        matches!(self, Source | Destination | InInterface | OutInterface | Protocol | Fragment | Match | Jump | Goto | Counters)
    }
}

/// An option that was found.
#[derive(Clone, Copy)]
pub enum Found {
    /// Of the program.
    Global(Global),
    /// Of a match or target.
    Module(Place),
}

/// Words that are read from the left.
pub struct Words<'w> {
    words: &'w [String],
    at: usize,
    /// What follows in the same word: more letters, or the value.
    rest: Option<&'w str>,
    /// The value behind `=`.
    assigned: Option<&'w str>,
    negated: bool,
}

impl<'w> Words<'w> {
    /// All words are to be read.
    pub fn new(words: &'w [String]) -> Words<'w> {
        Words { words, at: 0, rest: None, assigned: None, negated: false }
    }

    /// The next option; `None` at the end.
    ///
    /// # Errors
    ///
    /// When there is no such option, or a word is none.
    pub fn next(&mut self, reader: &mut Reader) -> Result<Option<Found>, String> {
        if let Some(value) = self.assigned.take() {
            return Err(format!("value {value:?} behind an option that has none"));
        }
        if let Some(letters) = self.rest.take().filter(|letters| !letters.is_empty()) {
            return self.letter(letters).map(Some);
        }
        let Some(word) = self.words.get(self.at) else {
            return if self.negated { Err("nothing appropriate following !".to_owned()) } else { Ok(None) };
        };
        self.at += 1;
        match word.as_str() {
            "!" if self.negated => Err("multiple consecutive ! not allowed".to_owned()),
            "!" => {
                self.negated = true;
                self.next(reader)
            }
            long if long.starts_with("--") && long.len() > 2 => {
                let (name, value) = long[2..].split_once('=').map_or((&long[2..], None), |(name, value)| (name, Some(value)));
                let found = reader.resolve(name)?;
                self.assigned = value;
                Ok(Some(found))
            }
            short if short.starts_with('-') && short.len() > 1 => self.letter(&short[1..]).map(Some),
            other => Err(format!("bad argument {other:?}")),
        }
    }

    fn letter(&mut self, letters: &'w str) -> Result<Found, String> {
        let letter = letters.chars().next().unwrap_or('\0');
        self.rest = Some(&letters[letter.len_utf8()..]).filter(|rest| !rest.is_empty());
        let found = GLOBALS.iter().find(|(_, _, known)| *known == letter && letter != '\0');
        found.map(|(_, global, _)| Found::Global(*global)).ok_or_else(|| format!("unknown option \"-{}\"", letter.escape_default()))
    }

    /// Whether `!` was in front of the option just found.
    pub fn take_negation(&mut self) -> bool {
        std::mem::take(&mut self.negated)
    }

    /// The value of an option.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn value(&mut self, option: &str) -> Result<&'w str, String> {
        if let Some(value) = self.assigned.take().or_else(|| self.rest.take()) {
            return Ok(value);
        }
        match self.words.get(self.at).map(String::as_str) {
            Some("!") => Err(format!("`!` belongs in front of {option}")),
            Some(value) => {
                self.at += 1;
                Ok(value)
            }
            None => Err(format!("option {option} requires an argument")),
        }
    }

    /// The value of an option that may have none: a word that is not an option.
    pub fn optional(&mut self) -> Option<&'w str> {
        if let Some(value) = self.assigned.take().or_else(|| self.rest.take()) {
            return Some(value);
        }
        let word = self.words.get(self.at).map(String::as_str).filter(|word| !word.starts_with('-') && *word != "!")?;
        self.at += 1;
        Some(word)
    }

    /// The value of an option that may have none: a word that is a number.
    pub fn number(&mut self) -> Option<&'w str> {
        let next = self.assigned.or(self.rest).or_else(|| self.words.get(self.at).map(String::as_str));
        if next.is_some_and(|word| word.starts_with(|c: char| c.is_ascii_digit())) { self.optional() } else { None }
    }

    /// Nothing may be left of the word of an option whose values were read.
    ///
    /// # Errors
    ///
    /// When there is a value behind `=` for an option that has none.
    pub fn done(&mut self, option: &str) -> Result<(), String> {
        match self.assigned.take() {
            Some(value) => Err(format!("option {option} has no value, but {value:?} is given")),
            None => Ok(()),
        }
    }
}
