//! What a command has at hand: the service, somebody to ask, and where answers go.

use super::{
    client::Client,
    error::{Error, Result},
    options::{self, Options},
    output::Printer,
    prompt::Prompt,
    state::{Environment, StateDir},
};

/// What a command has at hand.
pub(super) struct Context {
    pub(super) client: Client,
    pub(super) out: Printer,
    pub(super) ask: Prompt,
    environment: Environment,
    /// The session comes from a file, which has to go once the session has ended.
    is_kept: bool,
}

impl Context {
    /// For somebody who has not signed in yet.
    ///
    /// # Errors
    /// When the address is not one to send a password to.
    pub(super) fn nobody(options: &Options) -> Result<Self> {
        let environment = Environment::read();
        let known = environment.state_dir().ok().and_then(|state| state.current_url());
        let given = options.url.as_deref().or(environment.get("SENSORGATE_URL")).or(known.as_deref());
        let url = options::address(given, options.insecure_http)?;
        let no_colour = environment.get("NO_COLOR").is_some() || environment.get("TERM") == Some("dumb");
        Ok(Self {
            client: Client::new(&url, None)?,
            out: Printer::new(options, no_colour),
            ask: Prompt::new(options.yes),
            environment,
            is_kept: false,
        })
    }

    /// For somebody who has.
    ///
    /// # Errors
    /// When they have not.
    pub(super) fn signed_in(options: &Options) -> Result<Self> {
        let nobody = Self::nobody(options)?;
        if let Some(token) = nobody.environment.get("SENSORGATE_TOKEN") {
            return Ok(Self { client: nobody.client.with_token(token.to_owned()), ..nobody });
        }
        let url = nobody.client.base();
        let Some(kept) = nobody.state_dir()?.session(url)? else {
            return Err(Error::NotSignedIn(format!(
                "You are not signed in to {url}, or your session has ended.\n  Sign in: sensorgate login --url {url}"
            )));
        };
        Ok(Self { client: nobody.client.with_token(kept.access_token), is_kept: true, ..nobody })
    }

    /// Where sessions are kept.
    ///
    /// # Errors
    /// When there is no such place.
    pub(super) fn state_dir(&self) -> Result<StateDir> {
        self.environment.state_dir()
    }

    /// Whether the session comes from the environment.
    pub(super) fn has_token_of_its_own(&self) -> bool {
        self.environment.get("SENSORGATE_TOKEN").is_some()
    }

    /// Looks at how a command ended: a session that the service no longer knows is not kept.
    pub(super) fn after(&self, outcome: Result) -> Result {
        if let Err(Error::Refused(refusal)) = &outcome
            && self.is_kept
            && refusal.problem.code == "not_signed_in"
        {
            self.state_dir()?.forget(self.client.base())?;
        }
        outcome
    }
}
