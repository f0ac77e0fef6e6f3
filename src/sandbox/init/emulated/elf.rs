//! Reads program files (elf(5)) and says which system calls map one into a new process, as the
//! kernel's own `load_elf_binary` would.
//!
//! Everything in such a file is the command's: no number is trusted.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use rustix::io::Errno;

use super::loader::Plan;
use super::memory::PATH_MAX;

const HEADER: usize = 64;
const SEGMENT: usize = 56;
/// The kernel's limit for the table of segments, in bytes.
const MAX_SEGMENTS: usize = 65536;
const PAGE: u64 = 4096;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PT_LOAD: u32 = 1;
const PT_INTERP: u32 = 3;
const PT_PHDR: u32 = 6;
const PT_GNU_STACK: u32 = 0x6474_e551;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// Where position-independent programs go: ELF_ET_DYN_BASE of x86-64, and the interpreter below the
/// kernel's own choice for stacks and libraries (0x7ff0_0000_0000 and up) but where sanitizers
/// expect libraries.
const PROGRAM: u64 = 0x5555_5555_4000;
const INTERPRETER: u64 = 0x7f00_0000_0000;

/// A program file that can be started.
#[derive(Debug)]
pub(super) struct Elf {
    movable: bool,
    entry: u64,
    table: u64,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, Copy)]
struct Segment {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    in_file: u64,
    in_memory: u64,
    align: u64,
}

/// Where a file will be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Placed {
    /// What is added to its addresses.
    pub(super) bias: u64,
    pub(super) entry: u64,
    /// Address of its table of segments, and how many there are.
    pub(super) table: u64,
    pub(super) count: u64,
}

impl Elf {
    /// Reads the headers.
    ///
    /// # Errors
    /// `ENOEXEC` where it is not a program for this machine.
    pub(super) fn read(file: &File) -> Result<Self, Errno> {
        let mut header = [0; HEADER];
        read_at(file, &mut header, 0)?;
        let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let kind = half(16);
        // 64 bits, least significant byte first.
        let known = header.starts_with(b"\x7fELF\x02\x01") && half(18) == EM_X86_64 && half(54) as usize == SEGMENT;
        let count = half(56) as usize;
        if !known || !matches!(kind, ET_EXEC | ET_DYN) || count == 0 || count * SEGMENT > MAX_SEGMENTS {
            return Err(Errno::NOEXEC);
        }
        let table = long(&header, 32);
        let mut bytes = vec![0; count * SEGMENT];
        read_at(file, &mut bytes, table)?;
        let segments: Vec<Segment> = bytes.chunks_exact(SEGMENT).map(Segment::parse).collect();
        let loads = segments.iter().filter(|segment| segment.kind == PT_LOAD);
        let sane = |segment: &Segment| segment.end().is_some_and(|end| end < 1 << 47) && segment.in_file <= segment.in_memory;
        if loads.clone().count() == 0 || !loads.clone().all(sane) {
            return Err(Errno::NOEXEC);
        }
        Ok(Self { movable: kind == ET_DYN, entry: long(&header, 24), table, segments })
    }

    /// The path of the interpreter that it names.
    pub(super) fn interpreter(&self, file: &File) -> Result<Option<Vec<u8>>, Errno> {
        let Some(segment) = self.segments.iter().find(|segment| segment.kind == PT_INTERP) else { return Ok(None) };
        let length =
            usize::try_from(segment.in_file).ok().filter(|length| (2..=PATH_MAX).contains(length)).ok_or(Errno::NOEXEC)?;
        let mut path = vec![0; length];
        read_at(file, &mut path, segment.offset)?;
        match path.pop() {
            Some(0) => Ok(Some(path.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())),
            _ => Err(Errno::NOEXEC),
        }
    }

    /// Whether it wants to execute what is on its stack.
    pub(super) fn executes_stack(&self) -> bool {
        self.segments.iter().any(|segment| segment.kind == PT_GNU_STACK && segment.flags & PF_X != 0)
    }

    /// Adds to `plan` what maps it as a program from `descriptor`, at a place that `random`
    /// chooses.
    pub(super) fn place_program(&self, plan: &mut Plan, descriptor: i32, random: u64) -> Placed {
        self.place(plan, descriptor, PROGRAM + (random & 0xffff) * PAGE)
    }

    /// As `place_program`, for an interpreter.
    pub(super) fn place_interpreter(&self, plan: &mut Plan, descriptor: i32, random: u64) -> Placed {
        self.place(plan, descriptor, INTERPRETER + (random & 0xff_ffff) * PAGE)
    }

    fn place(&self, plan: &mut Plan, descriptor: i32, near: u64) -> Placed {
        let loads = || self.segments.iter().filter(|segment| segment.kind == PT_LOAD);
        let lowest = loads().map(|segment| segment.address & !(PAGE - 1)).min().unwrap_or_default();
        let align = loads().map(|segment| segment.align).filter(|align| align.is_power_of_two()).fold(PAGE, u64::max);
        let bias = match self.movable {
            true => ((near + align - 1) & !(align - 1)).wrapping_sub(lowest & !(align - 1)),
            false => 0,
        };
        let (mut table, mut first) = (0, true);
        for segment in &self.segments {
            match segment.kind {
                PT_PHDR => table = bias.wrapping_add(segment.address),
                PT_LOAD => {
                    if table == 0 && (segment.offset..segment.offset.saturating_add(segment.in_file)).contains(&self.table) {
                        table = bias.wrapping_add(segment.address).wrapping_add(self.table - segment.offset);
                    }
                    segment.map(plan, descriptor, bias, if first { libc::MAP_FIXED_NOREPLACE } else { libc::MAP_FIXED });
                    first = false;
                }
                _ => {}
            }
        }
        Placed { bias, entry: bias.wrapping_add(self.entry), table, count: self.segments.len() as u64 }
    }
}

impl Segment {
    fn parse(bytes: &[u8]) -> Self {
        let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self {
            kind: word(0),
            flags: word(4),
            offset: long(bytes, 8),
            address: long(bytes, 16),
            in_file: long(bytes, 32),
            in_memory: long(bytes, 40),
            align: long(bytes, 48),
        }
    }

    fn end(&self) -> Option<u64> {
        self.address.checked_add(self.in_memory)
    }

    /// `fixed`: the first of a file must find its place empty; later ones may share a page with
    /// those before.
    fn map(&self, plan: &mut Plan, descriptor: i32, bias: u64, fixed: libc::c_int) {
        let protection = [(PF_R, libc::PROT_READ), (PF_W, libc::PROT_WRITE), (PF_X, libc::PROT_EXEC)];
        let protection = protection.iter().filter(|(flag, _)| self.flags & flag != 0).fold(0, |all, (_, one)| all | one) as u64;
        let address = bias.wrapping_add(self.address);
        let (page, within) = (address & !(PAGE - 1), address & (PAGE - 1));
        let flags = (libc::MAP_PRIVATE | fixed) as u64;
        let end_of_file = address.wrapping_add(self.in_file);
        let mut mapped_to = page;
        if self.in_file > 0 {
            let offset = self.offset.wrapping_sub(within);
            plan.call(libc::SYS_mmap, [page, self.in_file + within, protection, flags, descriptor as u64, offset]);
            mapped_to = end_of_file.wrapping_add(PAGE - 1) & !(PAGE - 1);
        }
        if self.in_memory <= self.in_file {
            return;
        }
        // The rest of the last page holds what follows in the file.
        if self.flags & PF_W != 0 && mapped_to > end_of_file && self.in_file > 0 {
            plan.zero(end_of_file, mapped_to - end_of_file);
        }
        let end = address.wrapping_add(self.in_memory);
        if end > mapped_to {
            let flags = flags | libc::MAP_ANONYMOUS as u64;
            plan.call(libc::SYS_mmap, [mapped_to, end - mapped_to, protection, flags, u64::MAX, 0]);
        }
    }
}

fn long(bytes: &[u8], at: usize) -> u64 {
    bytes[at..at + 8].iter().rev().fold(0, |all, byte| all << 8 | u64::from(*byte))
}

/// A file that is too short is not a program.
fn read_at(file: &File, bytes: &mut [u8], offset: u64) -> Result<(), Errno> {
    file.read_exact_at(bytes, offset).map_err(|error| match error.kind() {
        std::io::ErrorKind::UnexpectedEof => Errno::NOEXEC,
        _ => Errno::from_io_error(&error).unwrap_or(Errno::NOEXEC),
    })
}
