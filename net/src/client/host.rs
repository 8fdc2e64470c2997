//! What a session knows of a host: its connections.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use corering_runtime::time::timeout;
use corering_sync::{Lock, OwnedPermit, Semaphore};

use super::connection::{Connection, Shared, Tasks};
use super::error::{Error, Phase};
use super::session::Settings;
use super::url::Origin;
use crate::pool::{Pool, PoolError, Pooled};

pub(super) struct Host {
    pool: Pool<Connection, Error>,
}

/// What is known of what it speaks.
struct Speaks {
    /// The connection that all requests go by, if there is one.
    shared: RefCell<Weak<Shared>>,
    /// It was found that it has none, and each request needs its own.
    is_http1: Cell<bool>,
    /// Until one of the two is known, only one connection is made at a time.
    first: Lock<()>,
}

impl Host {
    pub(super) fn new(origin: Origin, settings: &Rc<Settings>, tasks: &Rc<Tasks>) -> Self {
        let speaks = Rc::new(Speaks {
            shared: RefCell::default(),
            is_http1: Cell::new(!origin.is_secure),
            first: Lock::new(()),
        });
        let (settings, tasks) = (settings.clone(), tasks.clone());
        let (size, idle_time) = (settings.limit_per_host, settings.idle_time);
        let make = move || {
            let (speaks, origin, settings, tasks) = (speaks.clone(), origin.clone(), settings.clone(), tasks.clone());
            async move { speaks.connection(&origin, &settings, &tasks).await }
        };
        let pool = Pool::builder(make)
            .max_size(size)
            .idle_time(idle_time)
            .check(async |connection: &mut Connection| connection.is_usable().await)
            .build();
        Self { pool }
    }

    /// A connection for one request, and a place in the session.
    pub(super) async fn acquire(
        &self,
        slots: &Rc<Semaphore>,
        origin: &Origin,
        settings: &Settings,
        phase: &Cell<Phase>,
    ) -> Result<Exchange, Error> {
        phase.set(Phase::Wait);
        let closed = |_| Error::Closed;
        // The host's place first: whose host has none does not hold one of the session meanwhile.
        let waiting = async {
            let slot = self.pool.reserve().await.map_err(closed)?;
            Ok((slot, slots.acquire_owned().await.map_err(|_| Error::Closed)?))
        };
        let (slot, permit) = match settings.wait_timeout {
            None => waiting.await?,
            Some(limit) => match timeout(limit, waiting).await {
                Ok(given) => given?,
                Err(_) => return Err(Error::Timeout { host: origin.to_string(), phase: Phase::Wait, limit }),
            },
        };
        phase.set(Phase::Connect);
        match self.pool.fill(slot).await {
            Ok(lent) => Ok(Exchange { lent: Some(lent), is_over: false, _permit: permit }),
            Err(PoolError::Closed) => Err(Error::Closed),
            Err(PoolError::Make(error)) => Err(error),
        }
    }

    /// Forgets the connections that nobody uses now: the server has closed one, and may have closed all.
    pub(super) fn forget_idle(&self) {
        self.pool.retain(Connection::is_shared);
    }

    pub(super) fn is_unused(&self) -> bool {
        let status = self.pool.status();
        status.size() + status.waiting == 0
    }

    pub(super) fn counts(&self) -> (usize, usize, u64) {
        let status = self.pool.status();
        (status.idle, status.in_use, status.made)
    }

    pub(super) fn stop(&self) {
        self.pool.stop();
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

impl Speaks {
    async fn connection(&self, origin: &Origin, settings: &Settings, tasks: &Rc<Tasks>) -> Result<Connection, Error> {
        let limit = settings.connect_timeout;
        let _first = match self.is_http1.get() {
            true => None,
            // What others wait for may not come.
            false => Some(timeout(limit, self.first.lock()).await.map_err(|_| {
                let host = origin.to_string();
                Error::Timeout { host, phase: Phase::Connect, limit }
            })?),
        };
        let shared = self.shared.borrow().upgrade().filter(|shared| shared.is_open());
        if let Some(shared) = shared {
            return Ok(Connection::of(shared));
        }
        let connection = Connection::open(origin, settings, tasks).await?;
        match connection.shared() {
            Some(shared) => *self.shared.borrow_mut() = shared,
            None => self.is_http1.set(true),
        }
        Ok(connection)
    }
}

/// A request under way, with the connection that it has. Dropped before it is over, it takes that along, unless
/// others use it, too.
pub(super) struct Exchange {
    lent: Option<Pooled<Connection, Error>>,
    is_over: bool,
    _permit: OwnedPermit,
}

impl Exchange {
    pub(super) fn connection(&mut self) -> &mut Connection {
        match &mut self.lent {
            Some(lent) => lent,
            None => unreachable!("it goes with the exchange"),
        }
    }

    /// The answer was read to its end.
    pub(super) fn end(mut self) {
        self.is_over = true;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some(lent) = self.lent.take() else { return };
        if self.is_over || lent.is_shared() {
            drop(lent);
        } else {
            lent.into_value().cut();
        }
    }
}
