//! What a sandbox may reach ([design: walls](crate::design::walls)).

use super::{
    super::egress::{Egress, Network, Ranges},
    effects::{Denied, Effects},
    state::{Phase, Sandbox},
};

impl Sandbox {
    /// Whether it is on a network of ours whose rules are its own.
    pub fn has_walls(&self) -> bool {
        self.details.network == Some(Network::Isolated)
    }

    /// What it may reach beside what the walls leave open to all.
    pub fn egress(&self) -> Egress {
        self.details.egress.as_deref().cloned().unwrap_or_default()
    }

    /// Checks that its rules can be changed now.
    ///
    /// # Errors
    /// [`Denied`].
    pub fn may_change_egress(&self) -> Result<(), Denied> {
        match self.state.phase {
            Phase::Up(_) if self.has_walls() => Ok(()),
            Phase::Pending(_) | Phase::Up(_) if !self.has_walls() => Err(Denied::NoWalls),
            _ => Err(self.wrong_state("its rules can be changed once it runs")),
        }
    }

    /// Notes the client's rules. That is no use of it.
    pub(super) fn egress_set(&mut self, request: Ranges) -> Result<Effects, Denied> {
        self.may_change_egress()?;
        let egress = Egress { request, ..self.egress() };
        self.details_mut().egress = egress.boxed();
        Ok(self.write_through())
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            super::words::{EndReason, OnTimeout},
            Event, Persist,
            laws::{at, running},
        },
        *,
    };

    #[test]
    fn a_change_of_what_may_be_reached_is_written_and_is_no_use() {
        let mut life = running(OnTimeout::Deactivate);
        let deny = |range: &str| Ranges { deny: vec![range.parse().unwrap()], ..Ranges::default() };
        let change = |ranges: &Ranges| Event::Egress(Box::new(ranges.clone()));
        assert_eq!(life.apply(change(&deny("0.0.0.0/0")), at(1.0)), Err(Denied::NoWalls));
        let template = Ranges { allow: vec!["10.1.0.0/16".parse().unwrap()], ..Ranges::default() };
        life.details_mut().network = Some(Network::Isolated);
        life.details_mut().egress = Egress { template: template.clone(), ..Egress::default() }.boxed();
        let (idle, expires) = (life.idle_deadline(), life.expires_at());
        let changed = life.apply(change(&deny("0.0.0.0/0")), at(2.0)).unwrap();
        assert_eq!((changed.persist, changed.used), (Persist::Through, None));
        assert_eq!(life.egress(), Egress { template: template.clone(), request: deny("0.0.0.0/0") });
        assert_eq!((life.idle_deadline(), life.expires_at()), (idle, expires));
        life.apply(change(&Ranges::default()), at(3.0)).unwrap();
        assert_eq!(life.egress(), Egress { template, request: Ranges::default() });
        life.apply(Event::Terminate(EndReason::Requested), at(4.0)).unwrap();
        assert!(matches!(life.apply(change(&deny("::/0")), at(5.0)), Err(Denied::Terminating { .. })));
    }
}
