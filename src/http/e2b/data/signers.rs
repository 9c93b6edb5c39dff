//! Finds the sandbox that has signed a URL. The URL does not say which one, so all of them have to be tried, which takes time
//! that everybody who reaches Sandglass could waste. So there is one search at a time, and one that finds nothing is followed
//! by a pause of nine times its length: at most a tenth of the time goes into such searches.

use std::{rc::Rc, sync::Arc, time::Duration};

use actix_web::rt;
use tokio::{
    sync::{Mutex, Semaphore},
    time::sleep,
};

use super::signature::Signed;
use crate::{
    domain::Sandbox,
    http::e2b::access::{self, Opens},
    sandboxes::{Filter, Sandboxes},
};

/// How many sandboxes are looked at in one step.
const PAGE: usize = 1000;
/// How many searches may be under way or wait for their turn.
const MOST: usize = 16;
/// How many times as long as a search in vain the pause after it is.
const PAUSES: u32 = 9;
/// The longest pause: a search may have taken long for other reasons.
const LONGEST: Duration = Duration::from_secs(2);

/// The searches of one worker.
#[derive(Clone)]
pub(in crate::http) struct Signers {
    places: Arc<Semaphore>,
    turn: Rc<Mutex<()>>,
}

/// Too many searches wait.
#[derive(Debug)]
pub(super) struct Busy;

impl Signers {
    pub(in crate::http) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(MOST)), turn: Rc::default() }
    }

    /// The living sandbox that has signed it.
    ///
    /// # Errors
    /// [`Busy`].
    pub(super) async fn find(&self, signed: Signed, sandboxes: &Arc<Sandboxes>) -> Result<Option<Sandbox>, Busy> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Busy)?;
        let (turn, sandboxes) = (self.turn.clone(), sandboxes.clone());
        let (tell, told) = tokio::sync::oneshot::channel();
        // In a task of its own: who hangs up is not spared the pause.
        rt::spawn(async move {
            let _turn = turn.lock().await;
            let began = sandboxes.now().moment;
            let signer = search(&signed, &sandboxes).await;
            let pause = (sandboxes.now().moment.since(began) * PAUSES).min(LONGEST);
            let in_vain = signer.is_none();
            // The place is free for the next one; its turn comes after the pause.
            drop(place);
            let _ = tell.send(signer);
            if in_vain {
                sleep(pause).await;
            }
        });
        told.await.map_err(|_| Busy)
    }
}

async fn search(signed: &Signed, sandboxes: &Sandboxes) -> Option<Sandbox> {
    let mut after = None;
    loop {
        let page = sandboxes.list(&Filter::default(), after.as_ref(), PAGE).await;
        let settings = sandboxes.settings();
        let signs = |sandbox: &&Sandbox| signed.is_by(&access::token(settings, sandbox, Opens::Agent));
        if let Some(signer) = page.sandboxes.iter().find(signs) {
            return Some(signer.clone());
        }
        after = page.next;
        after.as_ref()?;
    }
}
