//! The loader: a static program of one page that every execve really starts. The kernel cannot be
//! given the program itself, whose interpreter it would look for outside the root file system.
//!
//! It knows nothing of program files. Its first system call asks the supervisor for a list of
//! system calls that map the program and its interpreter, it makes them, and jumps.
#![expect(unsafe_code, reason = "assembly, and the bytes between two of its labels")]

/// Where it lies: below the place of programs (0x5555_5555_4000), so that the heap, which the
/// kernel begins behind it, has 20 GiB of room; and outside what address sanitizers claim for
/// themselves.
const BASE: u64 = 0x5550_0000_0000;
/// Headers are before the code.
const HEADER: u64 = 64;
const SEGMENT: u64 = 56;
const CODE: u64 = HEADER + 3 * SEGMENT;
/// Where the list is written.
pub(super) const BUFFER: u64 = BASE + 0x1000;
pub(super) const BUFFER_SIZE: u64 = 0x8000;

/// In place of a call's number: the end of the list, the address to jump to follows.
const END: i64 = -1;
/// In place of a call's number: an address and a length to fill with zeros.
const ZERO: i64 = -2;
const WORDS: usize = 8;

std::arch::global_asm!(
    ".globl mpimg_loader_begin, mpimg_loader_end",
    ".hidden mpimg_loader_begin, mpimg_loader_end",
    "mpimg_loader_begin:",
    // openat(LOADER_CALL, BUFFER, 0, stack): by its first argument the supervisor knows it.
    "mov r10, rsp",
    "xor edx, edx",
    "movabs rbx, {buffer}",
    "mov rsi, rbx",
    "mov edi, {call}",
    "mov eax, {openat}",
    "syscall",
    "test rax, rax",
    "jnz 4f",
    // The next of the list: number, six arguments, nothing.
    "2:",
    "mov rax, [rbx]",
    "mov rdi, [rbx + 8]",
    "mov rsi, [rbx + 16]",
    "mov rdx, [rbx + 24]",
    "mov r10, [rbx + 32]",
    "mov r8, [rbx + 40]",
    "mov r9, [rbx + 48]",
    "add rbx, 64",
    "cmp rax, {end}",
    "je 5f",
    "cmp rax, {zero}",
    "je 3f",
    "syscall",
    // Errors are -4095 to -1.
    "cmp rax, -4096",
    "ja 4f",
    "jmp 2b",
    "3:",
    "mov rcx, rsi",
    "xor eax, eax",
    "rep stosb",
    "jmp 2b",
    // exit_group(127): as when the kernel finds no memory for a program after it has let the old
    // one go.
    "4:",
    "mov edi, 127",
    "mov eax, {exit_group}",
    "syscall",
    "hlt",
    // A program begins with the stack that the kernel has made; rdx is a function to call at its
    // end (System V ABI, 3.4.1).
    "5:",
    "mov r11, rdi",
    "xor eax, eax",
    "xor ebx, ebx",
    "xor ecx, ecx",
    "xor edx, edx",
    "xor esi, esi",
    "xor edi, edi",
    "xor ebp, ebp",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "xor r10d, r10d",
    "jmp r11",
    "mpimg_loader_end:",
    buffer = const BUFFER,
    call = const super::filter::LOADER_CALL,
    openat = const libc::SYS_openat,
    exit_group = const libc::SYS_exit_group,
    end = const END,
    zero = const ZERO,
);

unsafe extern "C" {
    static mpimg_loader_begin: u8;
    static mpimg_loader_end: u8;
}

fn code() -> &'static [u8] {
    // SAFETY: both labels are in the text above, the second behind the first, and nothing of it is
    // ever changed.
    unsafe {
        let (begin, end) = (&raw const mpimg_loader_begin, &raw const mpimg_loader_end);
        std::slice::from_raw_parts(begin, end.offset_from_unsigned(begin))
    }
}

/// The instruction that makes a system call.
pub(super) const SYSCALL: [u8; 2] = [0x0f, 0x05];

/// Where every process that the loader has started has one.
pub(super) fn system_call() -> u64 {
    let at = code().windows(2).position(|pair| *pair == SYSCALL);
    BASE + CODE + at.map_or(0, |at| at as u64)
}

/// Where such a process has the second filter, as seccomp(2) takes it.
pub(super) fn second_filter() -> u64 {
    BASE + CODE + code().len().next_multiple_of(8) as u64
}

/// The loader as an ELF file.
pub(super) fn image() -> Vec<u8> {
    let mut bytes = code().to_vec();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let filter = super::filter::second_program();
    // `struct sock_fprog` of linux/filter.h, and what it points to.
    for word in [filter.len() as u64, second_filter() + 16] {
        bytes.extend(word.to_le_bytes());
    }
    for instruction in filter {
        bytes.extend(instruction.code.to_le_bytes());
        bytes.extend([instruction.jt, instruction.jf]);
        bytes.extend(instruction.k.to_le_bytes());
    }
    static_program(BASE, &bytes)
}

/// A program that does nothing but end with status 0, for a rehearsal where there is no other.
pub(super) fn program_that_succeeds() -> Vec<u8> {
    // xor edi, edi; mov eax, 231 (exit_group); syscall
    static_program(0x40_0000, &[0x31, 0xff, 0xb8, 0xe7, 0, 0, 0, 0x0f, 0x05])
}

/// A static program (elf(5)): headers and `code` in one segment, an empty buffer behind it in
/// another.
fn static_program(base: u64, code: &[u8]) -> Vec<u8> {
    let size = CODE + code.len() as u64;
    let mut image = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    let half = |image: &mut Vec<u8>, value: u16| image.extend(value.to_le_bytes());
    let word = |image: &mut Vec<u8>, value: u32| image.extend(value.to_le_bytes());
    let long = |image: &mut Vec<u8>, value: u64| image.extend(value.to_le_bytes());
    // ET_EXEC, EM_X86_64, version.
    half(&mut image, 2);
    half(&mut image, 62);
    word(&mut image, 1);
    // Entry, segment headers, no section headers, flags.
    long(&mut image, base + CODE);
    long(&mut image, HEADER);
    long(&mut image, 0);
    word(&mut image, 0);
    for value in [HEADER as u16, SEGMENT as u16, 3, 0, 0, 0] {
        half(&mut image, value);
    }
    // PT_LOAD, PT_LOAD and PT_GNU_STACK with PF_X, PF_W, PF_R as 1, 2, 4.
    for (kind, flags, address, in_file, in_memory) in
        [(1, 5, base, size, size), (1, 6, base + 0x1000, 0, BUFFER_SIZE), (0x6474_e551, 6, 0, 0, 0)]
    {
        word(&mut image, kind);
        word(&mut image, flags);
        for value in [0, address, address, in_file, in_memory, 0x1000] {
            long(&mut image, value);
        }
    }
    image.extend(code);
    image
}

/// The list that the loader is given, and strings behind it.
#[derive(Debug, Default)]
pub(super) struct Plan {
    calls: Vec<[u64; WORDS]>,
}

impl Plan {
    pub(super) fn call(&mut self, number: libc::c_long, arguments: [u64; 6]) {
        let [a, b, c, d, e, f] = arguments;
        self.calls.push([number as u64, a, b, c, d, e, f, 0]);
    }

    pub(super) fn zero(&mut self, address: u64, length: u64) {
        self.call(ZERO, [address, length, 0, 0, 0, 0]);
    }

    /// Names the process after the first of `strings`, which is what the kernel has named after
    /// the loader, and jumps to `entry`; `None` where there is no room.
    pub(super) fn finish(mut self, entry: u64, strings: &[u8]) -> Option<Finished> {
        let at = BUFFER + ((self.calls.len() + 2) * WORDS * 8) as u64;
        self.call(libc::SYS_prctl, [libc::PR_SET_NAME as u64, at, 0, 0, 0, 0]);
        self.call(END, [entry, 0, 0, 0, 0, 0]);
        let mut bytes: Vec<u8> = self.calls.iter().flatten().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(strings);
        (bytes.len() as u64 <= BUFFER_SIZE).then_some(Finished { bytes, strings: at })
    }
}

/// A list that is complete.
#[derive(Debug)]
pub(super) struct Finished {
    /// What is to be written at [`BUFFER`].
    pub(super) bytes: Vec<u8>,
    /// The address of the strings.
    pub(super) strings: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_is_one_small_page_and_its_headers_are_what_readelf_would_say() {
        let image = image();
        assert!(image.len() < 512, "{}", image.len());
        let long = |at: usize| u64::from_le_bytes(image[at..at + 8].try_into().unwrap());
        let entry = long(24);
        assert_eq!(entry - BASE, (64 + 3 * 56) as u64);
        let at = |address: u64| (address - BASE) as usize;
        assert!(image[at(entry)..].starts_with(code()));
        assert!(image[at(system_call())..].starts_with(&SYSCALL));
        // The filter ends the image: eight bytes for each instruction.
        let (count, filter) = (long(at(second_filter())), long(at(second_filter()) + 8));
        assert_eq!(image.len(), at(filter) + 8 * count as usize);
        let first = super::super::filter::second_program()[0].clone();
        assert_eq!(image[at(filter)..][..2], first.code.to_le_bytes());
        assert_eq!(image[at(filter) + 4..][..4], first.k.to_le_bytes());
    }

    /// Against the instruction set's own encoding, so that an assembler's mistake or a changed
    /// constant does not go unseen.
    #[test]
    fn the_code_is_what_the_instruction_set_says() {
        let code = code();
        let buffer = BUFFER.to_le_bytes();
        let begin: Vec<u8> = [
            &[0x49, 0x89, 0xe2][..],         // mov r10, rsp
            &[0x31, 0xd2],                   // xor edx, edx
            &[0x48, 0xbb],                   // movabs rbx, …
            &buffer,                         //
            &[0x48, 0x89, 0xde],             // mov rsi, rbx
            &[0xbf, 0x53, 0x42, 0x4f, 0x4e], // mov edi, 0x4e4f4253
            &[0xb8, 0x01, 0x01, 0x00, 0x00], // mov eax, 257
            &[0x0f, 0x05],                   // syscall
            &[0x48, 0x85, 0xc0],             // test rax, rax
        ]
        .concat();
        assert_eq!(&code[..begin.len()], begin);
        // Three system calls: the question, those of the list, the exit.
        assert_eq!(code.windows(2).filter(|pair| **pair == [0x0f, 0x05]).count(), 3);
        assert!(code.ends_with(&[0x41, 0xff, 0xe3]), "jmp r11");
    }

    #[test]
    fn a_plan_that_is_too_long_is_none() {
        let mut plan = Plan::default();
        (0..509).for_each(|_| plan.zero(1, 2));
        let Finished { bytes, strings } = plan.finish(7, b"name\0").unwrap();
        assert_eq!(&bytes[..16], [&ZERO.to_le_bytes()[..], &1u64.to_le_bytes()].concat());
        assert_eq!(&bytes[(strings - BUFFER) as usize..], b"name\0");
        let mut plan = Plan::default();
        (0..510).for_each(|_| plan.zero(1, 2));
        assert!(plan.finish(7, b"x").is_none());
    }
}
