//! What requests do: at once if they can, else when their file is ready, or when a worker or the disk has done it.

use super::disk::{At, Inode, Stat};
use super::host::File;
use super::memory::{self, Area};
use super::net::{Address, Name, Received};
use super::request::Outcome;
use super::state::State;
use super::submission::{Bearer, Change, Head, Named, Receiving, Request, Target};
use super::{Answer, Errno, F_BUFFER, F_SOCK_NONEMPTY, HostId};

/// How many connections or chunks a multishot gives before others have their turn.
const MOST_OF_A_MULTISHOT: usize = 32;
/// Direct I/O goes by blocks of the disk.
const DIRECT_BLOCK: u64 = 512;
/// What is cached of a file is cached by pages.
const PAGE: u64 = 4096;
/// What every wait ends with, asked for or not (`IO_POLL_UNMASK` of the kernel).
const TROUBLE: u32 = (libc::POLLERR | libc::POLLHUP | libc::POLLRDHUP) as u32;
/// The largest position that says where; the next number stands for the file's own.
const LAST_POSITION: u64 = u64::MAX - 1;
/// How long a worker needs for what the disk has no part in.
const WORK_NS: u64 = 3_000;

impl State {
    /// Tries a request.
    pub(super) fn attempt(&mut self, request: usize) -> Outcome {
        if let Some(error) = self.planned_failure(request) {
            return self.failed(request, error);
        }
        let host = self.requests[request].host;
        let (open, begun) = (self.requests[request].open, self.requests[request].begun);
        let file = open.map(|open| self.opens[open].file.clone());
        match (self.requests[request].submission.request.clone(), file) {
            (Request::Nop { result }, _) => Outcome::Ended { result, flags: 0 },
            (Request::Close { target }, _) => Outcome::of(self.close_target(request, target).map(|()| 0)),
            (Request::Put { number, place }, _) => Outcome::of(self.put_direct(request, number, place)),
            (Request::Open { name, flags, .. }, _) => {
                let makes = flags & (libc::O_CREAT | libc::O_TRUNC) != 0 || flags & libc::O_TMPFILE == libc::O_TMPFILE;
                let found = match self.place(host, &name) {
                    Ok(place) => self.host(host).disk.stat_path(place.at(), true).is_ok(),
                    Err(_) => false,
                };
                if makes || !found {
                    return Outcome::Worker;
                }
                Outcome::of(self.open_file(request))
            }
            (
                Request::Sync { .. }
                | Request::Truncate { .. }
                | Request::Stat { .. }
                | Request::Allocate { .. }
                | Request::Advise { .. }
                | Request::SyncRange { .. }
                | Request::GetAttribute { .. }
                | Request::SetAttribute { .. }
                | Request::Change(_),
                _,
            ) => Outcome::Worker,
            // A directory cannot be asked so, wherever it is read.
            (Request::Read { nowait: true, .. }, Some(File::Disk { inode, .. }))
                if self.host(host).disk.is_directory(inode) =>
            {
                Outcome::of(Err(Errno(libc::EOPNOTSUPP)))
            }
            (Request::Read { areas, offset, nowait, .. }, Some(File::Disk { inode, position, flags, .. })) => {
                let at = if offset == u64::MAX { position } else { offset };
                // Folders know nothing of reads that do not wait, whatever else is wrong.
                if nowait && self.host(host).disk.stat(inode).mode & libc::S_IFMT == libc::S_IFDIR {
                    return Outcome::of(Err(Errno(libc::EOPNOTSUPP)));
                }
                match check_read(flags, at, &areas) {
                    Err(error) => Outcome::of(Err(error)),
                    Ok(()) if flags & libc::O_DIRECT != 0 => Outcome::Disk { ns: self.work_ns(request) },
                    Ok(()) => self.attempt_read(request, inode, &areas, at, nowait),
                }
            }
            (Request::Write { areas, offset, .. }, Some(File::Disk { position, flags, .. })) => {
                let at = if offset == u64::MAX { position } else { offset };
                match check_write(flags, at, &areas) {
                    Err(error) => Outcome::of(Err(error)),
                    Ok(()) => Outcome::Worker,
                }
            }
            // Sockets have no positions.
            (
                Request::Read { offset: 1..=LAST_POSITION, .. } | Request::Write { offset: 1..=LAST_POSITION, .. },
                Some(File::Socket(_)),
            ) => Outcome::of(Err(Errno(libc::ESPIPE))),
            (Request::Read { areas, .. }, Some(File::Socket(_))) => {
                self.receive(request, &areas, Receiving::default(), None)
            }
            (Request::Write { areas, .. }, Some(File::Socket(socket))) => {
                let bytes = memory::load_all(&areas);
                self.send(request, socket, &bytes, false, None)
            }
            (Request::Receive { areas, how, head, group, multi, .. }, Some(File::Socket(_))) => match (group, head) {
                (Some(group), Some(head)) => self.receive_messages(request, group, how, head, multi),
                (Some(group), None) => {
                    let most = areas.iter().map(|area| area.len).sum();
                    self.receive_pooled(request, group, most, multi)
                }
                (None, head) => self.receive(request, &areas, how, head),
            },
            (Request::Send { areas, how, to, .. }, Some(File::Socket(socket))) => {
                let to = match to.map(|to| self.destination(host, socket, to)).transpose() {
                    Ok(to) => to,
                    Err(error) => return Outcome::of(Err(error)),
                };
                match self.send(request, socket, &memory::load_all(&areas), how.all, to) {
                    Outcome::Waits if how.at_once => Outcome::of(Err(Errno(libc::EAGAIN))),
                    outcome => outcome,
                }
            }
            (Request::Accept { multi, .. }, Some(File::Socket(socket))) => self.accept(request, socket, multi),
            (Request::Connect { to, .. }, Some(File::Socket(socket))) => {
                let to = match self.destination(host, socket, to) {
                    Ok(To::Ip(to)) => to,
                    Ok(To::Unix(name)) => {
                        let connected = self.network.connect_unix(socket, &name);
                        self.look_at_network();
                        return match connected {
                            Ok(false) => Outcome::Waits,
                            connected => Outcome::of(connected.map(|_| 0)),
                        };
                    }
                    Err(error) => return Outcome::of(Err(error)),
                };
                let connected = if begun {
                    self.network.connect_result(socket)
                } else {
                    let connected = self.network.connect(socket, to, self.now_ns);
                    self.look_at_network();
                    match connected {
                        Ok(false) => None,
                        connected => Some(connected.map(|_| ())),
                    }
                };
                self.requests[request].begun = true;
                connected.map_or(Outcome::Waits, |connected| Outcome::of(connected.map(|()| 0)))
            }
            (Request::Poll { events, multi, .. }, Some(_)) => self.attempt_poll(request, events, multi),
            (
                Request::Receive { .. } | Request::Send { .. } | Request::Accept { .. } | Request::Connect { .. },
                Some(File::Disk { .. } | File::Bell { .. }),
            ) => Outcome::of(Err(Errno(libc::ENOTSOCK))),
            (Request::Read { .. } | Request::Write { .. }, Some(File::Bell { .. })) => {
                Outcome::of(Err(Errno(libc::EINVAL)))
            }
            (
                Request::Read { .. }
                | Request::Write { .. }
                | Request::Receive { .. }
                | Request::Send { .. }
                | Request::Accept { .. }
                | Request::Connect { .. }
                | Request::Poll { .. },
                None,
            )
            | (Request::Cancel(_), _) => Outcome::of(Err(Errno(libc::EBADF))),
        }
    }

    /// It fails since that was asked for. What has side effects in spite of an error has them.
    fn failed(&mut self, request: usize, error: Errno) -> Outcome {
        match self.requests[request].submission.request {
            Request::Close { target } => {
                // What it says is the error that was asked for.
                let _ = self.close_target(request, target);
            }
            Request::Sync { .. } => self.fail_sync(request),
            _ => {}
        }
        Outcome::of(Err(error))
    }

    /// What could not be written counts as written from now on, and this description has been told.
    fn fail_sync(&mut self, request: usize) {
        let host = self.requests[request].host;
        let open = self.requests[request].open;
        let Some(File::Disk { inode, .. }) = open.map(|open| &self.opens[open].file) else {
            return;
        };
        let inode = *inode;
        self.host(host).disk.fail_sync(inode);
        // It is told by the error of this very request.
        let _ = self.tell_of_failed_syncs(request);
    }

    /// Whoever has the file open is told once that a sync has failed, though not theirs (since Linux 4.13).
    fn tell_of_failed_syncs(&mut self, request: usize) -> Answer<i32> {
        let Some(open) = self.requests[request].open else {
            return Ok(0);
        };
        let host = usize::from(self.requests[request].host.0);
        let File::Disk { inode, failed_syncs, .. } = &mut self.opens[open].file else {
            return Ok(0);
        };
        let failed = self.hosts[host].disk.sync_failures(*inode);
        if std::mem::replace(failed_syncs, failed) == failed { Ok(0) } else { Err(Errno(libc::EIO)) }
    }

    fn close_target(&mut self, request: usize, target: Target) -> Answer<()> {
        let (host, ring) = (self.requests[request].host, self.requests[request].ring);
        match target {
            Target::Descriptor(number) => {
                self.find(host, number)?;
                self.close(host, number)
            }
            Target::Direct(place) => {
                let place = self.rings[ring].direct.get_mut(place as usize).and_then(Option::take);
                let open = place.ok_or(Errno(libc::EBADF))?;
                self.release(open);
                Ok(())
            }
        }
    }

    /// Puts an open file into a place of the ring's own table, which then keeps it open, too. Says how many it were.
    fn put_direct(&mut self, request: usize, number: i32, place: u32) -> Answer<i32> {
        let (host, ring) = (self.requests[request].host, self.requests[request].ring);
        let open = self.find(host, number)?;
        let place = self.rings[ring].direct.get_mut(place as usize).ok_or(Errno(libc::EINVAL))?;
        self.opens[open].references += 1;
        if let Some(before) = place.replace(open) {
            self.release(before);
        }
        Ok(1)
    }

    /// How long the worker or the disk needs.
    pub(super) fn work_ns(&mut self, request: usize) -> u64 {
        let pending = &self.requests[request];
        let (host, open) = (pending.host, pending.open);
        let storage = self.hosts[usize::from(host.0)].disk.storage();
        let range = match pending.submission.request {
            Request::Sync { .. } => storage.sync_latency_ns(),
            Request::Write { .. } | Request::Truncate { .. } => storage.write_latency_ns(),
            Request::Read { .. } => storage.read_latency_ns(),
            _ => return WORK_NS,
        };
        let ns = self.random.within(if self.in_order { *range.start()..=*range.start() } else { range });
        let writes = matches!(self.requests[request].submission.request, Request::Write { .. });
        let Some(File::Disk { inode, .. }) = open.filter(|_| writes).map(|open| &self.opens[open].file) else {
            return ns;
        };
        // Writes of one file are done by one worker after the other (K29).
        let (inode, now_ns) = (*inode, self.now_ns);
        let end = self.host(host).writes_end_ns.entry(inode).or_insert(0);
        *end = (now_ns + ns).max(*end + 1);
        *end - now_ns
    }

    /// Does what a worker or the disk was given.
    pub(super) fn perform(&mut self, request: usize) -> Answer<i32> {
        let pending = &self.requests[request];
        let (host, open) = (pending.host, pending.open);
        let file = open.map(|open| self.opens[open].file.clone());
        let now_ns = self.now_ns;
        match (pending.submission.request.clone(), file) {
            (Request::Open { .. }, _) => self.open_file(request),
            (Request::Stat { name, flags, answer }, _) => {
                let inode = if name.path.is_empty() && flags & libc::AT_EMPTY_PATH != 0 {
                    self.inode_of(host, name.directory)?
                } else {
                    let place = self.place(host, &name)?;
                    self.host(host).disk.inode_at(place.at(), flags & libc::AT_SYMLINK_NOFOLLOW == 0)?
                };
                let stat = self.host(host).disk.stat(inode);
                memory::write(answer, statx(&stat));
                Ok(0)
            }
            (Request::Change(change), _) => self.change(host, change).map(|()| 0),
            (Request::Allocate { mode, offset, bytes, .. }, Some(File::Disk { inode, flags, .. })) => {
                check_changes(flags)?;
                let range = range_of(offset, bytes).filter(|range| !range.is_empty()).ok_or(Errno(libc::EINVAL))?;
                self.host(host).disk.allocate(inode, mode, range, now_ns).map(|()| 0)
            }
            (Request::Advise { advice, .. }, Some(File::Disk { flags, .. })) => {
                check_open(flags)?;
                if (0..=libc::POSIX_FADV_NOREUSE).contains(&advice) { Ok(0) } else { Err(Errno(libc::EINVAL)) }
            }
            (Request::SyncRange { flags: what, offset, bytes, .. }, Some(File::Disk { flags, .. })) => {
                check_open(flags)?;
                let known = what & !SYNC_RANGE == 0 && range_of(offset, bytes).is_some();
                if known { Ok(0) } else { Err(Errno(libc::EINVAL)) }
            }
            (Request::GetAttribute { of, name, value }, file) => {
                let inode = self.bearer(host, &of, file)?;
                let found = self.host(host).disk.extended(inode, &name)?;
                if value.len > 0 && value.len < found.len() {
                    return Err(Errno(libc::ERANGE));
                }
                value.store(found);
                Ok(found.len() as i32)
            }
            (Request::SetAttribute { of, name, value, flags }, file) => {
                let inode = self.bearer(host, &of, file)?;
                self.host(host).disk.set_extended(inode, &name, &value.load(), flags, now_ns).map(|()| 0)
            }
            (Request::Sync { data_only, .. }, Some(File::Disk { inode, flags, .. })) => {
                check_open(flags)?;
                let chance = self.host(host).disk.storage().sync_error_chance();
                if self.random.chance(chance) {
                    self.fail_sync(request);
                    return Err(Errno(libc::EIO));
                }
                self.host(host).disk.sync(inode, data_only)?;
                self.tell_of_failed_syncs(request)
            }
            (Request::Truncate { bytes, .. }, Some(File::Disk { inode, flags, .. })) => {
                check_truncate(flags, bytes)?;
                self.host(host).disk.truncate(inode, bytes, now_ns).map(|()| 0)
            }
            (Request::Read { .. }, Some(File::Disk { .. })) => {
                let chance = self.host(host).disk.storage().read_error_chance();
                if self.random.chance(chance) {
                    return Err(Errno(libc::EIO));
                }
                self.read_file(request)
            }
            (Request::Write { areas, offset, .. }, Some(File::Disk { inode, flags, position, .. })) => {
                self.write_file(request, inode, flags, &areas, if offset == u64::MAX { position } else { offset })
            }
            (Request::Sync { .. } | Request::Truncate { .. }, _) => Err(Errno(libc::EINVAL)),
            (Request::Allocate { .. } | Request::Advise { .. } | Request::SyncRange { .. }, _) => {
                Err(Errno(libc::ESPIPE))
            }
            _ => Err(Errno(libc::EBADF)),
        }
    }

    // Files.

    /// Where a path begins. Its directory is looked for only when somebody needs it.
    pub(super) fn place<'a>(&mut self, host: HostId, name: &'a Named) -> Answer<Begun<'a>> {
        let needs_directory = name.directory != libc::AT_FDCWD
            && !name.path.is_empty()
            && (!name.path.starts_with(b"/") || name.resolve & IN_ROOT != 0);
        let directory = match needs_directory {
            true => Some(self.inode_of(host, name.directory)?),
            false => None,
        };
        if directory.is_some_and(|inode| !self.hosts[usize::from(host.0)].disk.is_directory(inode)) {
            return Err(Errno(libc::ENOTDIR));
        }
        Ok(Begun { directory, path: &name.path, resolve: name.resolve })
    }

    /// What is open by that number, if it is a file.
    pub(super) fn inode_of(&mut self, host: HostId, number: i32) -> Answer<Inode> {
        let open = self.find(host, number)?;
        match self.opens[open].file {
            File::Disk { inode, .. } => Ok(inode),
            File::Socket(_) | File::Bell { .. } => Err(Errno(libc::ENOTDIR)),
        }
    }

    fn bearer(&mut self, host: HostId, of: &Bearer, file: Option<File>) -> Answer<Inode> {
        match (of, file) {
            (Bearer::Path(path), _) => self.host(host).disk.inode_at(path, true),
            (Bearer::Open(_), Some(File::Disk { inode, flags, .. })) => check_open(flags).map(|()| inode),
            (Bearer::Open(_), _) => Err(Errno(libc::EOPNOTSUPP)),
        }
    }

    fn change(&mut self, host: HostId, change: Change) -> Answer<()> {
        let now_ns = self.now_ns;
        match change {
            Change::Folder { name, mode } => {
                let place = self.place(host, &name)?;
                self.host(host).disk.mkdir(place.at(), mode, now_ns)
            }
            Change::Remove { name, folder } => {
                let place = self.place(host, &name)?;
                let disk = &mut self.host(host).disk;
                if folder { disk.rmdir(place.at(), now_ns) } else { disk.unlink(place.at(), now_ns) }
            }
            Change::Move { from, to, flags } => {
                let (from, to) = (self.place(host, &from)?, self.place(host, &to)?);
                self.host(host).disk.rename(from.at(), to.at(), flags, now_ns)
            }
            Change::Symlink { target, name } => {
                let place = self.place(host, &name)?;
                self.host(host).disk.symlink(&target, place.at(), now_ns)
            }
            Change::Link { from, to, follow } => {
                let to = self.place(host, &to)?;
                if let Some(number) = open_by(&from.path).filter(|_| follow) {
                    let inode = self.inode_of(host, number)?;
                    return self.host(host).disk.link_open(inode, to.at(), now_ns);
                }
                let from = self.place(host, &from)?;
                self.host(host).disk.link(from.at(), to.at(), follow, now_ns)
            }
        }
    }

    fn open_file(&mut self, request: usize) -> Answer<i32> {
        let pending = &self.requests[request];
        let (host, ring, now_ns) = (pending.host, pending.ring, self.now_ns);
        let Request::Open { name, flags, mode, into } = pending.submission.request.clone() else {
            return Err(Errno(libc::EINVAL));
        };
        if into.is_none() && !self.host(host).has_room() {
            return Err(Errno(libc::EMFILE));
        }
        let place = self.place(host, &name)?;
        let inode = self.host(host).disk.open(place.at(), flags, mode, now_ns)?;
        let failed_syncs = self.host(host).disk.sync_failures(inode);
        let file = File::Disk { inode, flags, position: 0, failed_syncs };
        let Some(place) = into else {
            return self.open(host, file);
        };
        if place as usize >= self.rings[ring].direct.len() {
            self.host(host).disk.close(inode);
            return Err(Errno(libc::EINVAL));
        }
        let open =
            self.opens.insert(super::host::Open { host, references: 1, file, waiting: Vec::new(), locked: None });
        if let Some(before) = self.rings[ring].direct[place as usize].replace(open) {
            self.release(before);
        }
        Ok(0)
    }

    fn attempt_read(&mut self, request: usize, inode: Inode, areas: &[Area], at: u64, nowait: bool) -> Outcome {
        let host = self.requests[request].host;
        let room: usize = areas.iter().map(|area| area.len).sum();
        let forgotten = self.takes_liberty(|kernel| kernel.not_cached);
        let cached = !forgotten && self.host(host).disk.is_cached(inode, at, room);
        if nowait {
            if forgotten {
                return Outcome::of(Err(Errno(libc::EAGAIN)));
            }
            let mut bytes = vec![0; self.part_of_cache(at, room)];
            return Outcome::of(self.host(host).disk.read_cached(inode, at, &mut bytes).and_then(|count| {
                let count = count.ok_or(Errno(libc::EAGAIN))?;
                memory::store_all(areas, &bytes[..count]);
                Ok(count as i32)
            }));
        }
        if cached {
            return Outcome::of(self.read_file(request));
        }
        Outcome::Disk { ns: self.work_ns(request) }
    }

    /// Reads, from wherever the bytes are.
    fn read_file(&mut self, request: usize) -> Answer<i32> {
        let pending = &self.requests[request];
        let (host, open) = (pending.host, pending.open);
        let (Request::Read { areas, offset, .. }, Some(File::Disk { inode, flags, position, .. })) =
            (pending.submission.request.clone(), open.map(|open| self.opens[open].file.clone()))
        else {
            return Err(Errno(libc::EBADF));
        };
        if flags & libc::O_ACCMODE == libc::O_WRONLY || flags & libc::O_PATH != 0 {
            return Err(Errno(libc::EBADF));
        }
        let at = if offset == u64::MAX { position } else { offset };
        let room: usize = areas.iter().map(|area| area.len).sum();
        let mut bytes = vec![0; self.part_of_file(flags, room)];
        let count = self.host(host).disk.read(inode, at, &mut bytes)?;
        memory::store_all(&areas, &bytes[..count]);
        if offset == u64::MAX {
            self.set_position(request, at + count as u64);
        }
        Ok(count as i32)
    }

    fn set_position(&mut self, request: usize, to: u64) {
        let open = self.requests[request].open.map(|open| &mut self.opens[open].file);
        if let Some(File::Disk { position, .. }) = open {
            *position = to;
        }
    }

    fn write_file(&mut self, request: usize, inode: Inode, flags: i32, areas: &[Area], at: u64) -> Answer<i32> {
        let (host, now_ns) = (self.requests[request].host, self.now_ns);
        let chance = self.host(host).disk.storage().write_error_chance();
        if self.random.chance(chance) {
            return Err(Errno(libc::EIO));
        }
        let bytes = memory::load_all(areas);
        let part = self.part_of_file(flags, bytes.len());
        let disk = &mut self.host(host).disk;
        let count = if flags & libc::O_APPEND != 0 {
            disk.append(inode, &bytes[..part], now_ns)?
        } else {
            disk.write(inode, at, &bytes[..part], now_ns)?
        };
        if flags & libc::O_DSYNC != 0 {
            // O_SYNC has one bit more.
            self.host(host).disk.sync(inode, flags & libc::O_SYNC != libc::O_SYNC)?;
        }
        if matches!(self.requests[request].submission.request, Request::Write { offset: u64::MAX, .. }) {
            let end = if flags & libc::O_APPEND != 0 { self.host(host).disk.len(inode) } else { at + count as u64 };
            self.set_position(request, end);
        }
        Ok(count as i32)
    }

    /// How much is transferred of so many bytes: all, or fewer whole blocks if the file is open for direct I/O, which
    /// knows nothing smaller.
    pub(super) fn part_of_file(&mut self, flags: i32, len: usize) -> usize {
        let block = if flags & libc::O_DIRECT != 0 { DIRECT_BLOCK as usize } else { 1 };
        let blocks = len.div_ceil(block) as u64;
        if blocks > 1 && self.takes_liberty(|kernel| kernel.short_files) {
            return self.random.within(1..=blocks - 1) as usize * block;
        }
        len
    }

    /// How much is read of what is cached: all, or up to a page that is not cached any more.
    pub(super) fn part_of_cache(&mut self, at: u64, len: usize) -> usize {
        let first = PAGE - at % PAGE;
        let pages = (len as u64).saturating_sub(first).div_ceil(PAGE);
        if pages > 0 && self.takes_liberty(|kernel| kernel.short_files) {
            return (first + self.random.below(pages) * PAGE) as usize;
        }
        len
    }

    // Sockets.

    fn is_stream(&self, request: usize) -> bool {
        match self.requests[request].open.map(|open| &self.opens[open].file) {
            Some(File::Socket(socket)) => self.network.goes_in_parts(*socket),
            _ => false,
        }
    }

    fn part_of_stream(&mut self, request: usize, len: usize) -> usize {
        if self.is_stream(request) { self.part_of_send(len) } else { len }
    }

    /// How much of `len` bytes a stream takes, or gives, at once.
    pub(super) fn part_of_send(&mut self, len: usize) -> usize {
        if len > 1 && self.takes_liberty(|kernel| kernel.short_transfers) {
            return self.random.within(1..=len as u64 - 1) as usize;
        }
        len
    }

    /// Receives into areas in turn: how many bytes, how many the datagram had, and from whom. What else it comes to, if
    /// it does not.
    fn receive_once(&mut self, request: usize, areas: &[Area], how: Receiving) -> Result<Received, Outcome> {
        let Some(File::Socket(socket)) = self.requests[request].open.map(|open| self.opens[open].file.clone()) else {
            return Err(Outcome::of(Err(Errno(libc::ENOTSOCK))));
        };
        // A datagram is whole however much room there is.
        let all = how.all && self.is_stream(request);
        let whole: usize = areas.iter().map(|area| area.len).sum();
        loop {
            let done = self.requests[request].done;
            let end = if all { whole } else { done + self.part_of_stream(request, whole - done) };
            let mut bytes = vec![0; end - done];
            let received = self.network.receive(socket, &mut bytes, how.peek);
            self.look_at_network();
            let received = match received {
                Ok(Some(received)) => received,
                Ok(None) => return Err(Outcome::Waits),
                Err(error) if done == 0 => return Err(Outcome::of(Err(error))),
                Err(_) => return Ok(Received { copied: done, length: done, from: None }),
            };
            let mut areas_left = areas.to_vec();
            skip(&mut areas_left, done);
            memory::store_all(&areas_left, &bytes[..received.copied]);
            let (count, done) = (received.copied, done + received.copied);
            self.requests[request].done = done;
            if !all || count == 0 || done == whole {
                let length = if self.is_stream(request) { done } else { received.length };
                return Ok(Received { copied: done, length, from: received.from });
            }
        }
    }

    fn receive(&mut self, request: usize, areas: &[Area], how: Receiving, head: Option<Head>) -> Outcome {
        let received = match self.receive_once(request, areas, how) {
            Ok(received) => received,
            Err(outcome) => return outcome,
        };
        if let Some(Head { header: address, name, .. }) = head {
            let from = received.from.as_ref().map_or_else(Vec::new, raw_address);
            name.store(&from);
            let mut header = memory::message(address);
            header.msg_namelen = if name.address == 0 { 0 } else { from.len() as libc::socklen_t };
            header.msg_controllen = 0;
            header.msg_flags = if received.length > received.copied { libc::MSG_TRUNC } else { 0 };
            memory::write(address, header);
        }
        let flags = if received.copied > 0 { self.more_there(request) } else { 0 };
        let result = if how.length { received.length } else { received.copied };
        Outcome::Ended { result: result as i32, flags }
    }

    /// The flag that says that there is more to receive.
    fn more_there(&self, request: usize) -> u32 {
        match self.requests[request].open.map(|open| &self.opens[open].file) {
            Some(File::Socket(socket)) if self.network.ready(*socket) & libc::POLLIN as u32 != 0 => F_SOCK_NONEMPTY,
            _ => 0,
        }
    }

    fn receive_pooled(&mut self, request: usize, group: u16, most: usize, multi: bool) -> Outcome {
        let ring = self.requests[request].ring;
        for _ in 0..MOST_OF_A_MULTISHOT {
            let Some((buffer, id)) = self.rings[ring].group(group).and_then(|group| group.next()) else {
                return Outcome::of(Err(Errno(libc::ENOBUFS)));
            };
            let buffer = if most > 0 { buffer.truncated(most) } else { buffer };
            let Outcome::Ended { result, flags } = self.receive(request, &[buffer], Receiving::default(), None) else {
                return Outcome::Waits;
            };
            self.requests[request].done = 0;
            if result <= 0 {
                return Outcome::Ended { result, flags };
            }
            if let Some(group) = self.rings[ring].group(group) {
                group.take();
            }
            let flags = flags | F_BUFFER | u32::from(id) << 16;
            if !multi || !self.post_one_of_many(request, result, flags) {
                return Outcome::Ended { result, flags };
            }
        }
        Outcome::Again
    }

    /// Receives messages into buffers of a group: each has a head, room for the name, and then the bytes.
    fn receive_messages(&mut self, request: usize, group: u16, how: Receiving, head: Head, multi: bool) -> Outcome {
        let ring = self.requests[request].ring;
        let before = MESSAGE_HEAD + head.name.len + head.control.len;
        for _ in 0..MOST_OF_A_MULTISHOT {
            let Some((buffer, id)) = self.rings[ring].group(group).and_then(|group| group.next()) else {
                return Outcome::of(Err(Errno(libc::ENOBUFS)));
            };
            if buffer.len < before {
                return Outcome::of(Err(Errno(libc::EFAULT)));
            }
            let room = Area { address: buffer.address + before as u64, len: buffer.len - before };
            let received = match self.receive_once(request, &[room], how) {
                Ok(received) => received,
                Err(outcome) => return outcome,
            };
            self.requests[request].done = 0;
            if let Some(group) = self.rings[ring].group(group) {
                group.take();
            }
            let from = received.from.as_ref().map_or_else(Vec::new, raw_address);
            let length = if how.length { received.length } else { received.copied } as u32;
            let cut = if received.length > received.copied { libc::MSG_TRUNC as u32 } else { 0 };
            let numbers = [from.len() as u32, 0, length, cut].map(u32::to_ne_bytes);
            buffer.truncated(MESSAGE_HEAD).store(numbers.as_flattened());
            Area { address: buffer.address + MESSAGE_HEAD as u64, len: head.name.len }.store(&from);
            let (result, flags) = ((before + received.copied) as i32, F_BUFFER | u32::from(id) << 16);
            // An empty one ends it, as the end of a stream does.
            if received.length == 0 || !multi || !self.post_one_of_many(request, result, flags) {
                return Outcome::Ended { result, flags };
            }
        }
        Outcome::Again
    }

    /// Who is meant by an address, if that is of the socket's family.
    fn destination(&mut self, host: HostId, socket: super::net::SocketId, to: Address) -> Answer<To> {
        match (to, self.network.is_unix(socket)) {
            (Address::Ip(to), false) => Ok(To::Ip(to)),
            (Address::Unix(name), true) => self.unix_name(host, &name).map(To::Unix),
            (Address::Ip(_), true) => Err(Errno(libc::EINVAL)),
            (Address::Unix(_), false) => Err(Errno(libc::EAFNOSUPPORT)),
        }
    }

    /// What a socket of the Unix family is found by.
    fn unix_name(&mut self, host: HostId, name: &[u8]) -> Answer<Name> {
        match name.strip_prefix(b"\0") {
            Some(name) => Ok(Name::Abstract(name.to_vec())),
            None if name.is_empty() => Err(Errno(libc::EINVAL)),
            None => self.host(host).disk.inode_at(name, true).map(Name::Node),
        }
    }

    fn send(
        &mut self,
        request: usize,
        socket: super::net::SocketId,
        bytes: &[u8],
        all: bool,
        to: Option<To>,
    ) -> Outcome {
        loop {
            let done = self.requests[request].done;
            let end = if all { bytes.len() } else { done + self.part_of_stream(request, bytes.len() - done) };
            let sent = match &to {
                Some(To::Unix(name)) => self.network.send_letter(socket, &bytes[done..end], Some(name)),
                Some(To::Ip(to)) => self.network.send(socket, &bytes[done..end], Some(*to), self.now_ns),
                None => self.network.send(socket, &bytes[done..end], None, self.now_ns),
            };
            self.look_at_network();
            match sent {
                Ok(Some(count)) => {
                    self.requests[request].done = done + count;
                    if !all || done + count == bytes.len() {
                        return Outcome::Ended { result: (done + count) as i32, flags: 0 };
                    }
                }
                Ok(None) => return Outcome::Waits,
                Err(error) if done == 0 => return Outcome::of(Err(error)),
                Err(_) => return Outcome::Ended { result: done as i32, flags: 0 },
            }
        }
    }

    fn accept(&mut self, request: usize, listener: super::net::SocketId, multi: bool) -> Outcome {
        let host = self.requests[request].host;
        for _ in 0..MOST_OF_A_MULTISHOT {
            if !self.host(host).has_room() {
                return Outcome::of(Err(Errno(libc::EMFILE)));
            }
            let accepted = self.network.accept(listener);
            self.look_at_network();
            let socket = match accepted {
                Ok(Some(socket)) => socket,
                Ok(None) => return Outcome::Waits,
                Err(error) => return Outcome::of(Err(error)),
            };
            let number = match self.open(host, File::Socket(socket)) {
                Ok(number) => number,
                Err(error) => return Outcome::of(Err(error)),
            };
            let flags = self.more_there(request);
            if !multi || !self.post_one_of_many(request, number, flags) {
                return Outcome::Ended { result: number, flags };
            }
        }
        Outcome::Again
    }

    fn attempt_poll(&mut self, request: usize, events: u32, multi: bool) -> Outcome {
        let ready = self.readiness(request) & (events | TROUBLE);
        if ready == 0 {
            return Outcome::Waits;
        }
        // A multishot is told once for each change: it is tried again only when its file has said something.
        if !multi || !self.post_one_of_many(request, ready as i32, 0) {
            return Outcome::Ended { result: ready as i32, flags: 0 };
        }
        Outcome::Waits
    }

    fn readiness(&self, request: usize) -> u32 {
        match self.requests[request].open.map(|open| &self.opens[open].file) {
            Some(File::Socket(socket)) => self.network.ready(*socket),
            Some(File::Disk { .. }) => (libc::POLLIN | libc::POLLOUT) as u32,
            Some(File::Bell { seen, .. }) if *seen > 0 => libc::POLLIN as u32,
            Some(File::Bell { .. }) | None => 0,
        }
    }

    /// Whether it is worth another attempt.
    pub(super) fn is_ready(&self, request: usize) -> bool {
        const READS: u32 = libc::POLLIN as u32 | TROUBLE;
        const WRITES: u32 = libc::POLLOUT as u32 | TROUBLE;
        let ready = self.readiness(request);
        match &self.requests[request].submission.request {
            Request::Read { .. } | Request::Receive { .. } | Request::Accept { .. } => ready & READS != 0,
            Request::Write { .. } | Request::Send { .. } | Request::Connect { .. } => ready & WRITES != 0,
            Request::Poll { events, .. } => ready & (events | TROUBLE) != 0,
            Request::Nop { .. }
            | Request::Sync { .. }
            | Request::Truncate { .. }
            | Request::Open { .. }
            | Request::Close { .. }
            | Request::Put { .. }
            | Request::Stat { .. }
            | Request::Allocate { .. }
            | Request::Advise { .. }
            | Request::SyncRange { .. }
            | Request::GetAttribute { .. }
            | Request::SetAttribute { .. }
            | Request::Change(_)
            | Request::Cancel(_) => true,
        }
    }
}

/// A path, and the directory in which it begins.
pub(super) struct Begun<'a> {
    directory: Option<Inode>,
    path: &'a [u8],
    resolve: u64,
}

impl Begun<'_> {
    pub(super) fn at(&self) -> At<'_> {
        At { directory: self.directory, path: self.path, resolve: self.resolve }
    }
}

/// Who something is sent to.
enum To {
    Ip(std::net::SocketAddr),
    Unix(Name),
}

/// `struct io_uring_recvmsg_out`.
const MESSAGE_HEAD: usize = 16;

/// An address as the system writes it.
fn raw_address(address: &Address) -> Vec<u8> {
    let family = |family: i32| (family as u16).to_ne_bytes();
    match address {
        Address::Ip(std::net::SocketAddr::V4(address)) => {
            let port = address.port().to_be_bytes();
            [&family(libc::AF_INET)[..], &port, &address.ip().octets(), &[0; 8]].concat()
        }
        Address::Ip(std::net::SocketAddr::V6(address)) => {
            let port = address.port().to_be_bytes();
            [&family(libc::AF_INET6)[..], &port, &[0; 4], &address.ip().octets(), &[0; 4]].concat()
        }
        Address::Unix(name) if name.is_empty() => Vec::new(),
        Address::Unix(name) => {
            let end: &[u8] = if name.starts_with(b"\0") { &[] } else { &[0] };
            [&family(libc::AF_UNIX)[..], name, end].concat()
        }
    }
}

/// What a path of /proc names that leads to what is open.
fn open_by(path: &[u8]) -> Option<i32> {
    std::str::from_utf8(path.strip_prefix(b"/proc/self/fd/")?).ok()?.parse().ok()
}

/// `RESOLVE_IN_ROOT`.
const IN_ROOT: u64 = 0x10;
/// All flags of sync_file_range(2).
const SYNC_RANGE: u32 =
    libc::SYNC_FILE_RANGE_WAIT_BEFORE | libc::SYNC_FILE_RANGE_WRITE | libc::SYNC_FILE_RANGE_WAIT_AFTER;

/// Whether more was opened than a path.
pub(super) fn check_open(flags: i32) -> Answer<()> {
    if flags & libc::O_PATH != 0 { Err(Errno(libc::EBADF)) } else { Ok(()) }
}

/// Whether it was opened for writing.
pub(super) fn check_changes(flags: i32) -> Answer<()> {
    if flags & libc::O_ACCMODE == libc::O_RDONLY { Err(Errno(libc::EBADF)) } else { check_open(flags) }
}

/// What a range is, if its end is a position.
pub(super) fn range_of(offset: u64, bytes: u64) -> Option<std::ops::Range<u64>> {
    let end = i64::try_from(offset).ok()?.checked_add(i64::try_from(bytes).ok()?)?;
    Some(offset..end as u64)
}

/// Whether a file that was opened with such flags can be read there.
pub(super) fn check_read(flags: i32, at: u64, areas: &[Area]) -> Answer<()> {
    if flags & libc::O_ACCMODE == libc::O_WRONLY || flags & libc::O_PATH != 0 {
        return Err(Errno(libc::EBADF));
    }
    check_range(flags, at, areas)
}

fn check_write(flags: i32, at: u64, areas: &[Area]) -> Answer<()> {
    check_changes(flags)?;
    check_range(flags, at, areas)
}

/// Positions are signed numbers in the kernel, and direct I/O goes by blocks.
fn check_range(flags: i32, at: u64, areas: &[Area]) -> Answer<()> {
    let len: usize = areas.iter().map(|area| area.len).sum();
    let end = i64::try_from(at).ok().and_then(|at| at.checked_add(len as i64));
    let whole_blocks =
        || at % DIRECT_BLOCK == 0 && areas.iter().all(|area| (area.address | area.len as u64) % DIRECT_BLOCK == 0);
    if end.is_none() || flags & libc::O_DIRECT != 0 && !whole_blocks() {
        return Err(Errno(libc::EINVAL));
    }
    Ok(())
}

/// Whether a file that was opened with such flags can be made so long.
pub(super) fn check_truncate(flags: i32, bytes: u64) -> Answer<()> {
    check_open(flags)?;
    if flags & libc::O_ACCMODE == libc::O_RDONLY || i64::try_from(bytes).is_err() {
        return Err(Errno(libc::EINVAL));
    }
    Ok(())
}

/// The areas without their first bytes.
fn skip(areas: &mut Vec<Area>, mut count: usize) {
    while let Some(first) = areas.first_mut() {
        let here = first.len.min(count);
        *first = Area { address: first.address + here as u64, len: first.len - here };
        count -= here;
        if first.len > 0 {
            return;
        }
        areas.remove(0);
    }
}

/// What the system's call of that name fills in.
pub(super) fn statx(stat: &Stat) -> libc::statx {
    let mut answer = memory::empty_statx();
    answer.stx_mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME | libc::STATX_DIOALIGN;
    (answer.stx_dio_mem_align, answer.stx_dio_offset_align) = (DIRECT_BLOCK as u32, DIRECT_BLOCK as u32);
    answer.stx_blksize = 4096;
    answer.stx_mode = stat.mode as u16;
    answer.stx_nlink = stat.links;
    (answer.stx_uid, answer.stx_gid) = (stat.user, stat.group);
    answer.stx_size = stat.size;
    answer.stx_blocks = stat.blocks;
    answer.stx_ino = u64::from(stat.inode.0);
    for (time, ns) in [
        (&mut answer.stx_atime, stat.accessed_ns),
        (&mut answer.stx_mtime, stat.modified_ns),
        (&mut answer.stx_ctime, stat.changed_ns),
        (&mut answer.stx_btime, stat.born_ns),
    ] {
        // What was set may be before 1970.
        let (ns, second) = (ns as i64, 1_000_000_000);
        (time.tv_sec, time.tv_nsec) = (ns.div_euclid(second), ns.rem_euclid(second) as u32);
    }
    answer
}
