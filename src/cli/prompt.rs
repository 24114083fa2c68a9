//! Questions to the person at the terminal, on standard error. Without a terminal nobody is asked, and what needs an
//! answer is refused.

use std::io::{self, BufRead, IsTerminal, Write};

use super::error::{Error, Result};

/// Who can be asked, and whether they need to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prompt {
    has_terminal: bool,
    yes: bool,
}

impl Prompt {
    pub(super) fn new(yes: bool) -> Self {
        Self { has_terminal: io::stdin().is_terminal() && io::stderr().is_terminal(), yes }
    }

    /// Goes on only when the person says yes to `consequence`, or has said `--yes`.
    ///
    /// # Errors
    /// When they say no, or cannot be asked.
    pub(super) fn confirm(self, consequence: &str) -> Result {
        self.ask_for(consequence, "Go on? [y/N]", &|answer| ["y", "yes"].contains(&answer.to_lowercase().as_str()))
    }

    /// Likewise, where it can never be undone: the person types `name`.
    ///
    /// # Errors
    /// When they type something else, or cannot be asked.
    pub(super) fn confirm_by_name(self, consequence: &str, name: &str) -> Result {
        self.ask_for(consequence, &format!("This cannot be undone. Type {name:?} to go on:"), &|answer| answer == name)
    }

    fn ask_for(self, consequence: &str, question: &str, is_right: &dyn Fn(&str) -> bool) -> Result {
        if self.yes {
            return Ok(());
        }
        if !self.has_terminal {
            return Err(Error::usage(format!(
                "{consequence}\n  Nothing was done: there is no terminal to ask at. Say --yes if you mean it."
            )));
        }
        say(&format!("{consequence}\n{question} "))?;
        if is_right(read_line()?.trim()) { Ok(()) } else { Err(Error::usage("Nothing was done.")) }
    }

    /// A line of text; `option` is the argument that could have given it.
    ///
    /// # Errors
    /// Without a terminal, or without an answer.
    pub(super) fn text(self, question: &str, option: &str) -> Result<String> {
        if !self.has_terminal {
            return Err(Error::usage(format!("{option} is missing, and there is no terminal to ask at.")));
        }
        say(&format!("{question}: "))?;
        let answer = read_line()?.trim().to_owned();
        if answer.is_empty() { Err(Error::usage(format!("{option} is missing."))) } else { Ok(answer) }
    }

    /// A password, without showing it.
    ///
    /// # Errors
    /// Without a terminal.
    pub(super) fn password(self, question: &str) -> Result<String> {
        if !self.has_terminal {
            return Err(Error::usage(
                "there is no terminal to read a password from; pipe it in with --password-stdin.",
            ));
        }
        Ok(rpassword::prompt_password(format!("{question}: "))?)
    }

    /// A password that is new, twice.
    ///
    /// # Errors
    /// Without a terminal, or when the two differ.
    pub(super) fn new_password(self) -> Result<String> {
        let first = self.password("New password (at least 12 characters)")?;
        if self.password("The same again")? == first {
            Ok(first)
        } else {
            Err(Error::usage("The two passwords differ. Nothing was changed."))
        }
    }
}

fn say(text: &str) -> io::Result<()> {
    let mut stderr = io::stderr().lock();
    stderr.write_all(text.as_bytes())?;
    stderr.flush()
}

fn read_line() -> io::Result<String> {
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line)
}

/// The passwords on standard input, one a line.
///
/// # Errors
/// When there is none.
pub(super) fn piped_passwords() -> Result<(String, Option<String>)> {
    let lines: Vec<String> = io::stdin().lock().lines().take(2).collect::<io::Result<_>>()?;
    let mut lines = lines.into_iter().filter(|line| !line.is_empty());
    let none = || Error::usage("--password-stdin: standard input is empty.");
    Ok((lines.next().ok_or_else(none)?, lines.next()))
}
