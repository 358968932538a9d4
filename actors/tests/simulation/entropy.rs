//! Hash tables whose order is the same in each run. The standard library asks the C library for the keys of its hash tables by a
//! symbol that a program may define itself; ours has one answer. Each seed runs on a thread of its own, so that its tables count
//! from the same keys.
#![allow(unsafe_code)]

#[unsafe(no_mangle)]
extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    // SAFETY: getrandom(2): the caller gives a buffer of `length` bytes to be filled.
    unsafe { std::slice::from_raw_parts_mut(buffer, length) }.fill(0x5a);
    isize::try_from(length).unwrap_or(isize::MAX)
}
