//! Where the outcome goes: standard output, plain or on a terminal.

use std::io::{self, BufWriter, IsTerminal as _, StdoutLock, Write};

use serde::Serialize;

/// Standard output. Nothing here panics when the reader goes away; every write says so instead.
pub(crate) struct Printer {
    out: BufWriter<StdoutLock<'static>>,
    terminal: bool,
    colour: bool,
}

impl Printer {
    /// Standard output, with colour when it is a terminal that takes it and `NO_COLOR` (no-color.org) is not set.
    pub(crate) fn new() -> Printer {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Printer { out: BufWriter::new(stdout.lock()), terminal, colour: terminal && !dumb && !set("NO_COLOR") }
    }

    /// Whether to use colour.
    pub(crate) fn colour(&self) -> bool {
        self.colour
    }

    /// Clears the screen if there is one, for the next round of `--watch`; else puts an empty line between the rounds.
    pub(crate) fn clear(&mut self, first: bool, json: bool) -> io::Result<()> {
        if self.terminal {
            // CUP to 1;1 and ED 2 (ECMA-48).
            self.out.write_all(b"\x1b[H\x1b[2J")?;
        } else if !first && !json {
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// One line, or several.
    pub(crate) fn line(&mut self, text: &str) -> io::Result<()> {
        self.out.write_all(text.as_bytes())?;
        if !text.ends_with('\n') {
            self.out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Octets as they are.
    pub(crate) fn raw(&mut self, octets: &[u8]) -> io::Result<()> {
        self.out.write_all(octets)
    }

    /// One JSON value on one line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }

    /// One JSON value over several lines.
    pub(crate) fn json_pretty(&mut self, value: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut self.out, value)?;
        self.out.write_all(b"\n")
    }

    /// A JSON array with an object a line, written as the items come.
    pub(crate) fn json_list(&mut self) -> JsonList<'_> {
        JsonList { out: &mut self.out, empty: true }
    }

    /// Hands everything on to the reader.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A JSON array under way.
pub(crate) struct JsonList<'a> {
    out: &'a mut BufWriter<StdoutLock<'static>>,
    empty: bool,
}

impl JsonList<'_> {
    /// The next item.
    pub(crate) fn item(&mut self, item: &impl Serialize) -> io::Result<()> {
        self.out.write_all(if self.empty { b"[\n" } else { b",\n" })?;
        self.empty = false;
        serde_json::to_writer(&mut *self.out, item)?;
        Ok(())
    }

    /// The end of the array.
    pub(crate) fn end(self) -> io::Result<()> {
        self.out.write_all(if self.empty { b"[]\n" } else { b"\n]\n" })
    }
}

/// Tells the user on standard error, as far as that is possible.
pub(crate) fn complain(message: &str) {
    let _ = writeln!(io::stderr().lock(), "{message}");
}
