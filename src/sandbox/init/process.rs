//! The few process calls that no safe interface offers: fork, signal dispositions, descriptors in
//! bulk.
//!
//! For the helper only: everything here relies on the process having one thread.
#![expect(unsafe_code, reason = "fork and its like; the helper has one thread")]

use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::thread::UnshareFlags;

use crate::sandbox::Ulimit;
use crate::sandbox::setup_error::{SetupError, Step as _};

/// Which side of a fork this is.
pub(in crate::sandbox) enum Fork {
    Parent(Pid),
    Child,
}

pub(in crate::sandbox) fn fork() -> Result<Fork, Errno> {
    // SAFETY: the helper has one thread, so no lock can be held by another and the child may call
    // anything.
    let pid = unsafe { libc::fork() };
    match pid {
        -1 => Err(last_errno()),
        0 => Ok(Fork::Child),
        pid => Pid::from_raw(pid).map(Fork::Parent).ok_or(Errno::INVAL),
    }
}

/// The signal with a number, a real-time one, too; `None` where there is none.
pub(super) fn signal(number: i32) -> Option<Signal> {
    // SAFETY: these are numbers of signals, and neither of those that the C library keeps for
    // itself.
    let real_time = || (34..=64).contains(&number).then(|| unsafe { Signal::from_raw_unchecked(number) });
    Signal::from_named_raw(number).or_else(real_time)
}

/// Ends this process without running anything registered by its parent.
pub(in crate::sandbox) fn exit_now(status: i32) -> ! {
    // SAFETY: never returns, touches no memory.
    unsafe { libc::_exit(status) }
}

pub(super) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: `UnshareFlags::FILES` is never passed, which is what the caller must promise.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// Commands start with default signal dispositions and none blocked: Rust programs ignore SIGPIPE,
/// nohup ignores SIGHUP, and both would be inherited.
pub(super) fn default_signals() {
    // Larger than the kernel's `sigaction` anywhere. All zeros means: default, no flags, no mask.
    let default = [0u64; 16];
    for signal in 1..=64 {
        // Not by libc, which keeps two numbers for itself and refuses them. SAFETY: sets default
        // dispositions, no handler is involved; numbers that cannot be set give EINVAL.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null::<u64>(), 8) };
    }
    // SAFETY: an empty set is written before it is read, and both outlive the calls.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}

/// Takes SIGCHLD as it is by default. Where a parent ignores it, which is inherited, nothing is
/// known of children (wait(2), ECHILD).
pub(in crate::sandbox) fn heed_children() {
    // Larger than the kernel's `sigaction` anywhere. All zeros means: default, no flags, no mask.
    let default = [0u64; 16];
    // SAFETY: sets the default disposition, no handler is involved.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, libc::SIGCHLD, default.as_ptr(), std::ptr::null::<u64>(), 8) };
}

/// Has a write beyond `ulimit -f` fail with EFBIG, which can be reported, instead of killing this
/// process (setrlimit(2), SIGXFSZ). Commands get the default back by [`default_signals`].
pub(in crate::sandbox) fn outlive_file_limit() {
    // SAFETY: ignoring a signal involves no handler.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// A descriptor that can be read from when a child has ended (signalfd(2)): other than
/// pidfd_open(2), every kernel has it. From here on SIGCHLD is blocked; [`default_signals`] undoes
/// that.
pub(super) fn child_events() -> Result<OwnedFd, Errno> {
    heed_children();
    // SAFETY: the set is written before it is read and outlives the calls; the kernel makes the
    // descriptor for us alone.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        match libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            fd if fd >= 0 => Ok(OwnedFd::from_raw_fd(fd)),
            _ => Err(last_errno()),
        }
    }
}

/// Has [`child_events`] wait for the next child.
pub(super) fn clear_child_events(events: &OwnedFd) {
    let mut buffer = [0u8; 1024];
    while matches!(rustix::io::read(events, &mut buffer), Ok(1..)) {}
}

/// Closes all descriptors from 3 up, also those that this process was started with. To be called
/// before it has opened any itself.
#[cfg(feature = "run")]
pub(in crate::sandbox) fn close_others() {
    // SAFETY: at the very start of `main` nothing of this program owns a descriptor above 2.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
    if result != 0 {
        // An old kernel or a filter: then they are at least not passed on.
        let _ = each_close_on_exec();
    }
}

/// Marks all descriptors from 3 up as closed on exec, also those that this process was started
/// with.
pub(super) fn close_others_on_exec() -> Result<(), Errno> {
    // SAFETY: only sets flags on descriptors; none is closed or changes its owner.
    let result = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    match result {
        0 => Ok(()),
        _ if matches!(last_errno(), Errno::NOSYS | Errno::INVAL | Errno::PERM) => each_close_on_exec(),
        _ => Err(last_errno()),
    }
}

fn each_close_on_exec() -> Result<(), Errno> {
    let entries = std::fs::read_dir("/proc/self/fd").map_err(|_| Errno::NOSYS)?;
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    for fd in numbers.filter(|fd| *fd > 2).collect::<Vec<_>>() {
        // SAFETY: only sets a flag; a descriptor that has gone meanwhile gives EBADF.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
    Ok(())
}

/// Brings the loopback interface of the current network namespace up.
pub(super) fn loopback_up() -> Result<(), Errno> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: all fields of `ifreq` are plain numbers and arrays, for which zeros are valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    request.ifr_name[0] = b'l' as libc::c_char;
    request.ifr_name[1] = b'o' as libc::c_char;
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads the `ifreq` that the pointer is to, which lives until the call
    // returns.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &request) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Makes `tun` an interface of the current network namespace that gives IP packets, with `address`
/// (of 24 bits), as the way to everywhere.
pub(super) fn tun_up(tun: &OwnedFd, address: std::net::Ipv4Addr, mtu: u16) -> Result<(), Errno> {
    /// `IFF_TUN | IFF_NO_PI`: packets without anything before them.
    const PACKETS: libc::c_short = 0x1001;
    const NAME: &[u8] = b"eth0";
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    let request = |set: &dyn Fn(&mut libc::ifreq)| {
        // SAFETY: all fields of `ifreq` are plain numbers and arrays, for which zeros are valid.
        let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
        for (to, from) in request.ifr_name.iter_mut().zip(NAME) {
            *to = *from as libc::c_char;
        }
        set(&mut request);
        request
    };
    let call = |fd: &OwnedFd, number: libc::Ioctl, request: &libc::ifreq| {
        // SAFETY: each of the calls below reads the `ifreq` that the pointer is to, which lives
        // until the call returns.
        match unsafe { libc::ioctl(fd.as_raw_fd(), number, request) } {
            0 => Ok(()),
            _ => Err(last_errno()),
        }
    };
    let internet = |address: std::net::Ipv4Addr| {
        let address = libc::in_addr { s_addr: u32::from_ne_bytes(address.octets()) };
        let address = libc::sockaddr_in { sin_family: libc::AF_INET as _, sin_port: 0, sin_addr: address, sin_zero: [0; 8] };
        // SAFETY: both are 16 bytes of plain data, and the family says which of the two it is.
        unsafe { std::mem::transmute::<libc::sockaddr_in, libc::sockaddr>(address) }
    };
    call(tun, libc::TUNSETIFF, &request(&|request| request.ifr_ifru.ifru_flags = PACKETS))?;
    call(&socket, libc::SIOCSIFADDR, &request(&|request| request.ifr_ifru.ifru_addr = internet(address)))?;
    let mask = std::net::Ipv4Addr::new(255, 255, 255, 0);
    call(&socket, libc::SIOCSIFNETMASK, &request(&|request| request.ifr_ifru.ifru_netmask = internet(mask)))?;
    call(&socket, libc::SIOCSIFMTU, &request(&|request| request.ifr_ifru.ifru_mtu = mtu.into()))?;
    let up = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    call(&socket, libc::SIOCSIFFLAGS, &request(&|request| request.ifr_ifru.ifru_flags = up))?;
    let mut device = *b"eth0\0";
    // SAFETY: all fields of `rtentry` are plain numbers and pointers, for which zeros are valid.
    let mut route: libc::rtentry = unsafe { std::mem::zeroed() };
    route.rt_dst = internet(std::net::Ipv4Addr::UNSPECIFIED);
    route.rt_genmask = internet(std::net::Ipv4Addr::UNSPECIFIED);
    route.rt_flags = libc::RTF_UP as _;
    route.rt_dev = device.as_mut_ptr().cast();
    // SAFETY: SIOCADDRT reads the `rtentry` and the name that it points to; both live until the
    // call returns.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCADDRT as _, &route) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Makes the mount tree whose root `mount` is read-only, all mounts below it included
/// (mount_setattr(2)).
pub(super) fn mount_setattr_read_only(mount: &OwnedFd) -> Result<(), Errno> {
    let attributes = libc::mount_attr { attr_set: libc::MOUNT_ATTR_RDONLY, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = (libc::AT_RECURSIVE | libc::AT_EMPTY_PATH) as libc::c_uint;
    // SAFETY: descriptor, path and attributes are valid for the call, the size is that of the
    // structure.
    let result = unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &attributes, size_of::<libc::mount_attr>())
    };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Whether a surrounding filter refuses a call of those that `seccomp` asks about.
pub(super) fn is_refused(call: i64) -> bool {
    let (none, zero): (libc::c_long, libc::c_long) = (-1, 0);
    // SAFETY: with these arguments none of them does anything: there is no such descriptor or
    // process, no path at the address 0, and no range that ends before it begins.
    let answer = unsafe { libc::syscall(call as libc::c_long, none, zero, zero, zero, zero) };
    answer < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Installs a system-call filter on this thread without giving up set-id programs; needs
/// CAP_SYS_ADMIN in its user namespace.
pub(super) fn install_filter(program: &[seccompiler::sock_filter]) -> Result<(), Errno> {
    let length = libc::c_ushort::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    // `seccompiler::sock_filter` has the kernel's layout; `sock_fprog` wants a pointer that it does
    // not write to.
    let filter = libc::sock_fprog { len: length, filter: program.as_ptr().cast::<libc::sock_filter>().cast_mut() };
    // SAFETY: pointer and length describe `program`, which outlives the call.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &filter) } {
        0 => Ok(()),
        _ => Err(last_errno()),
    }
}

/// Limits a resource of this process and of those that it starts.
pub(super) fn set_limit(limit: &Ulimit) -> Result<(), Errno> {
    let (resource, soft, hard) = limit.parts();
    let number = |limit: Option<u64>| limit.unwrap_or(libc::RLIM64_INFINITY);
    let limits = libc::rlimit64 { rlim_cur: number(soft), rlim_max: number(hard) };
    // By number: libc names only some of them. SAFETY: prlimit64 reads the structure, which lives
    // until the call returns, and writes nothing.
    let result = unsafe { libc::syscall(libc::SYS_prlimit64, 0, resource, &limits, std::ptr::null::<libc::rlimit64>()) };
    if result == 0 { Ok(()) } else { Err(last_errno()) }
}

/// Replaces this process; returns only with an error.
pub(super) fn exec(program: &std::ffi::CStr, argv: &[std::ffi::CString], env: &[std::ffi::CString]) -> Errno {
    let pointers = |strings: &[std::ffi::CString]| -> Vec<*const libc::c_char> {
        strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (argv, env) = (pointers(argv), pointers(env));
    // SAFETY: both lists end with a null pointer and point to strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), env.as_ptr()) };
    last_errno()
}

pub(super) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// Dies when the parent dies. `alive` is the reading end of a pipe that only the parent can write:
/// it closes the gap before this call.
pub(super) fn die_with_parent(alive: &OwnedFd) -> Result<(), SetupError> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .step(|| "prctl(PR_SET_PDEATHSIG)".into())?;
    let mut fds = [rustix::event::PollFd::new(alive, rustix::event::PollFlags::IN)];
    let none = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut fds, Some(&none)) {
        Ok(0) => Ok(()),
        _ => Err(SetupError::new("start (the parent is gone)", None)),
    }
}
