//! What the commands of all runs of a process take together: cpus, memory, places in pools.
//!
//! Within a run the machine gives out what the run may take. A daemon has many runs at once, and one machine: each attempt
//! takes a lease before its command starts, and gives it back when that has ended, whatever becomes of the run. A lease is
//! in memory only: with the process that gave it goes whoever could use it.
//!
//! A pool of one name is one for all pipelines of the project; each of them lets in as many as its own file says.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// What a command asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Cpus; at least one counts.
    pub cpus: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// A pool, and how many may be in it at once, at least 1.
    pub pool: Option<(String, u32)>,
    /// Greater ones go first.
    pub priority: i64,
}

/// What there is, and who has it.
#[derive(Debug)]
pub struct Leases {
    cpus_max: u32,
    /// `None`: memory is not counted.
    memory_max: Option<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Whether no more turns are given.
    closed: bool,
    cpus: u32,
    memory_bytes: u64,
    pools: HashMap<String, u32>,
    next: u64,
    waiting: BTreeMap<(Reverse<i64>, u64), Waiting>,
}

#[derive(Debug)]
struct Waiting {
    ask: Ask,
    turn: oneshot::Sender<()>,
}

/// What was taken; dropping it gives it back.
#[derive(Debug)]
pub struct Lease {
    leases: Arc<Leases>,
    ask: Ask,
}

impl Leases {
    /// Gives out so many cpus, and so much memory where it is counted.
    pub fn new(cpus: u32, memory_bytes: Option<u64>) -> Arc<Self> {
        let state = State::default();
        Arc::new(Self { cpus_max: cpus.max(1), memory_max: memory_bytes, state: Mutex::new(state) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One that asks for more than there is takes everything, and so runs alone.
    fn bounded(&self, mut ask: Ask) -> Ask {
        ask.cpus = ask.cpus.clamp(1, self.cpus_max);
        ask.memory_bytes = self.memory_max.map_or(0, |max| ask.memory_bytes.min(max));
        ask
    }

    /// Waits until what is asked for is free, and takes it. Who gives up waiting has taken nothing.
    pub async fn take(self: &Arc<Self>, ask: Ask) -> Lease {
        let ask = self.bounded(ask);
        let turn = {
            let mut state = self.lock();
            let (sender, turn) = oneshot::channel();
            let number = state.next;
            state.next += 1;
            state.waiting.insert((Reverse(ask.priority), number), Waiting { ask: ask.clone(), turn: sender });
            self.serve(&mut state);
            turn
        };
        // The guard gives back what is handed over to one that just gave up.
        let mut handed = Handed { leases: self, ask: Some(ask), turn };
        let _ = (&mut handed.turn).await;
        let ask = handed.ask.take().expect("it is taken once");
        Lease { leases: Arc::clone(self), ask }
    }

    /// Takes what one has already, free or not: a command that a process before started.
    pub fn take_over(self: &Arc<Self>, ask: Ask) -> Lease {
        let ask = self.bounded(ask);
        self.lock().take(&ask);
        Lease { leases: Arc::clone(self), ask }
    }

    /// Gives turns to those that wait, in their order. One that waits for cpus or memory is not overtaken; one that waits
    /// for a pool is.
    fn serve(&self, state: &mut State) {
        if state.closed {
            return;
        }
        let order: Vec<_> = state.waiting.keys().copied().collect();
        for key in order {
            let waiting = &state.waiting[&key];
            if waiting.turn.is_closed() {
                state.waiting.remove(&key);
                continue;
            }
            let ask = &waiting.ask;
            let pool_is_full = ask
                .pool
                .as_ref()
                .is_some_and(|(name, limit)| state.pools.get(name).is_some_and(|used| used >= limit.max(&1)));
            if pool_is_full {
                continue;
            }
            let fits = state.cpus + ask.cpus <= self.cpus_max
                && self.memory_max.is_none_or(|max| state.memory_bytes + ask.memory_bytes <= max);
            if !fits {
                break;
            }
            let Waiting { ask, turn } = state.waiting.remove(&key).expect("it was just looked at");
            state.take(&ask);
            if turn.send(()).is_err() {
                state.give_back(&ask);
            }
        }
    }

    /// Gives no more turns: who waits goes on waiting, whatever comes free.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    fn give_back(&self, ask: &Ask) {
        let mut state = self.lock();
        state.give_back(ask);
        self.serve(&mut state);
    }

    /// Returns the cpus that are taken, and how many commands wait.
    pub fn load(&self) -> (u32, usize) {
        let state = self.lock();
        (state.cpus, state.waiting.len())
    }
}

impl State {
    fn take(&mut self, ask: &Ask) {
        self.cpus += ask.cpus;
        self.memory_bytes += ask.memory_bytes;
        if let Some((name, _)) = &ask.pool {
            *self.pools.entry(name.clone()).or_default() += 1;
        }
    }

    fn give_back(&mut self, ask: &Ask) {
        self.cpus -= ask.cpus;
        self.memory_bytes -= ask.memory_bytes;
        if let Some((name, _)) = &ask.pool
            && let Some(used) = self.pools.get_mut(name)
        {
            *used -= 1;
            if *used == 0 {
                self.pools.remove(name);
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.leases.give_back(&self.ask);
    }
}

/// One that waits for its turn.
struct Handed<'l> {
    leases: &'l Arc<Leases>,
    /// `None` once it is a lease.
    ask: Option<Ask>,
    turn: oneshot::Receiver<()>,
}

impl Drop for Handed<'_> {
    fn drop(&mut self) {
        self.turn.close();
        // It got its turn in the moment in which nobody waited any more.
        if let Some(ask) = self.ask.take()
            && self.turn.try_recv().is_ok()
        {
            self.leases.give_back(&ask);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn ask(cpus: u32) -> Ask {
        Ask { cpus, memory_bytes: 0, pool: None, priority: 0 }
    }

    fn now<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_is_taken_is_free_again_when_it_is_dropped() {
        let leases = Leases::new(2, None);
        let one = now(pin!(leases.take(ask(1)))).expect("free");
        let mut both = pin!(leases.take(ask(2)));
        assert!(now(both.as_mut()).is_none());
        let mut small = pin!(leases.take(ask(1)));
        assert!(now(small.as_mut()).is_none(), "who waits longer is not overtaken");
        drop(one);
        let both = now(both.as_mut()).expect("free");
        assert!(now(small.as_mut()).is_none());
        drop(both);
        assert!(now(small.as_mut()).is_some());
        assert_eq!(leases.load(), (0, 0), "a lease that was dropped at once");
    }

    #[test]
    fn once_it_is_closed_nobody_gets_what_comes_free() {
        let leases = Leases::new(1, None);
        let one = now(pin!(leases.take(ask(1)))).expect("free");
        let mut next = pin!(leases.take(ask(1)));
        assert!(now(next.as_mut()).is_none());
        leases.close();
        drop(one);
        assert!(now(next.as_mut()).is_none());
        assert!(now(pin!(leases.take(ask(1)))).is_none());
    }

    #[test]
    fn who_gives_up_takes_nothing() {
        let leases = Leases::new(1, None);
        let one = now(pin!(leases.take(ask(1)))).expect("free");
        let mut next = Box::pin(leases.take(ask(1)));
        assert!(now(next.as_mut()).is_none());
        drop(one);
        // It has its turn, and nobody looked.
        drop(next);
        assert_eq!(leases.load(), (0, 0));
        let mut next = Box::pin(leases.take(ask(9)));
        let all = now(next.as_mut()).expect("all there is");
        assert_eq!(leases.load(), (1, 0));
        drop(all);
    }

    #[test]
    fn a_full_pool_holds_up_only_those_that_want_in() {
        let leases = Leases::new(4, Some(100));
        let pooled = || Ask { pool: Some(("db".to_owned(), 1)), ..ask(1) };
        let first = now(pin!(leases.take(pooled()))).expect("free");
        let mut second = pin!(leases.take(pooled()));
        assert!(now(second.as_mut()).is_none());
        let other = now(pin!(leases.take(ask(1))));
        assert!(other.is_some());
        let mut urgent = pin!(leases.take(Ask { priority: 9, ..pooled() }));
        assert!(now(urgent.as_mut()).is_none());
        drop(first);
        assert!(now(second.as_mut()).is_none(), "the urgent one goes first");
        let urgent = now(urgent.as_mut());
        assert!(urgent.is_some());
        drop(urgent);
        assert!(now(second.as_mut()).is_some());
    }

    #[test]
    fn what_runs_already_is_counted_although_there_is_no_room() {
        let leases = Leases::new(1, None);
        let one = leases.take_over(ask(1));
        let two = leases.take_over(ask(1));
        assert_eq!(leases.load().0, 2);
        drop((one, two));
        assert_eq!(leases.load().0, 0);
    }
}
