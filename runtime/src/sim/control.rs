//! What is done to a world from outside: hosts that lose their power and start again, and what goes with them.

use super::host::{File, Open};
use super::net::SocketId;
use super::state::State;
use super::trace::What;
use super::{Answer, Errno, HostId};

impl State {
    /// Power loss: what was not synced is gone or torn, connections vanish without a word, and nothing of any
    /// program's memory is touched any more.
    pub(crate) fn crash(&mut self, host: HostId) {
        self.say(format!("host '{}' crashes", self.name_of(host)));
        // What the rings let go of is closed without a word, since the network knows of the crash already.
        self.network.crash(host);
        self.stop_rings(host);
        self.forget_open(host);
        let mut random = self.random.fork();
        let host = self.host(host);
        host.disk.crash(&mut random);
        host.writes_end_ns.clear();
        host.up = false;
        host.paused = false;
    }

    /// The programs end at once, and their system closes what they had open: peers see that, and files are as they were
    /// written.
    pub(crate) fn kill(&mut self, host: HostId) {
        self.say(format!("the programs of host '{}' are killed", self.name_of(host)));
        self.stop_rings(host);
        self.forget_open(host);
        self.host(host).up = false;
    }

    /// The world ends.
    pub(crate) fn cut_off(&mut self, host: HostId) {
        self.stop_rings(host);
    }

    /// Whether any of its cores lives.
    pub(crate) fn has_cores(&self, host: HostId) -> bool {
        self.rings.iter().any(|ring| ring.host == host && !ring.dead)
    }

    /// Up again.
    pub(crate) fn start(&mut self, host: HostId) {
        self.say(format!("host '{}' starts", self.name_of(host)));
        self.network.start(host);
        let host = self.host(host);
        host.up = true;
        host.paused = false;
        host.cores = 0;
    }

    pub(crate) fn is_up(&self, host: HostId) -> bool {
        self.hosts[usize::from(host.0)].up
    }

    pub(crate) fn set_paused(&mut self, host: HostId, paused: bool) {
        self.say(format!("host '{}' {}", self.name_of(host), if paused { "is paused" } else { "goes on" }));
        self.host(host).paused = paused;
    }

    pub(crate) fn is_paused(&self, host: HostId) -> bool {
        self.hosts[usize::from(host.0)].paused
    }

    pub(crate) fn name_of(&self, host: HostId) -> &str {
        &self.hosts[usize::from(host.0)].name
    }

    pub(crate) fn host_named(&self, name: &str) -> Option<HostId> {
        self.hosts.iter().position(|host| host.name == name).map(|at| HostId(at as u16))
    }

    pub(crate) fn address_of(&self, host: HostId) -> std::net::IpAddr {
        self.hosts[usize::from(host.0)].address
    }

    pub(crate) fn descriptors_of(&self, host: HostId) -> usize {
        self.hosts[usize::from(host.0)].descriptors()
    }

    /// Gives a socket that nobody holds a place in the host's table.
    pub(crate) fn open_socket(&mut self, host: HostId, socket: SocketId) -> Answer<i32> {
        self.open(host, File::Socket(socket))
    }

    /// How many files of its disk are open.
    pub(crate) fn open_files(&self, host: HostId) -> usize {
        let of_disk = |open: &Open| open.host == host && matches!(open.file, File::Disk { .. });
        self.opens.iter().filter(|(_, open)| of_disk(open)).count()
    }

    /// How many requests of its cores have not ended.
    pub(crate) fn requests_of(&self, host: HostId) -> usize {
        self.requests.iter().filter(|(_, request)| request.host == host).count()
    }

    /// Writes into the trace what was done from outside.
    pub(crate) fn say(&mut self, text: String) {
        self.note(None, What::Control(text));
    }

    fn stop_rings(&mut self, host: HostId) {
        for ring in 0..self.rings.len() {
            if self.rings[ring].host == host && !self.rings[ring].dead {
                self.kill_ring(ring);
            }
        }
    }

    /// What was open is closed as the network's and the disk's state demands: those that have crashed know nothing of
    /// it any more.
    fn forget_open(&mut self, host: HostId) {
        self.host(host).forget_descriptors();
        let open: Vec<usize> = self.opens.iter().filter(|(_, open)| open.host == host).map(|(at, _)| at).collect();
        for at in open {
            // The runtime's own bells are closed by their rings.
            if !matches!(self.opens[at].file, File::Bell { .. }) {
                let Open { file, .. } = self.opens.remove(at);
                self.close_file(host, &file);
            }
        }
    }

    /// Whether the ring has something for its core.
    pub(crate) fn has_news(&self, ring: usize) -> bool {
        self.rings[ring].has_news()
    }

    pub(crate) fn fail_next(&mut self, host: HostId, call: super::Call, error: Errno) {
        self.say(format!("the next {call:?} of host '{}' will fail with {error:?}", self.name_of(host)));
        self.host(host).fail_next(call, error.0);
    }
}
