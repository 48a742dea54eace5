//! Counts of connections that several worker processes share, in memory that all of them map.
//!
//! Each process has a slot, and only the process itself adds to it. A worker that wants to admit a
//! connection adds one to its own count first and then checks the sum: two workers that do so at
//! the same time may both be refused, but never exceed the limit together. The parent clears the
//! slot of a worker that has died.
//!
//! A slot has a count of all connections, and for each address an entry in a table of buckets. An
//! entry stays where it is as long as it counts something, so others can read it at any time.
#![allow(unsafe_code)]

use std::{
    hash::{DefaultHasher, Hasher},
    io,
    net::IpAddr,
    os::fd::AsFd,
    ptr::{self, NonNull},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
};

use rustix::{
    fs::fstat,
    io::Errno,
    mm::{mmap, munmap, MapFlags, ProtFlags},
};

/// Words of 8 bytes in a page. The first page of the memory has the key for the table, and the first
/// page of each slot its count of connections.
const PAGE_WORDS: usize = 512;
/// Entries of a bucket: so many addresses of one bucket can be counted at a time.
const BUCKET_ENTRIES: usize = 32;
/// Words of an entry: an address and its count.
const ENTRY_WORDS: usize = 2;
/// How often to look again whether there is room, if another worker asks at the same time.
const TRIES: u32 = 16;

/// The counts of all workers.
#[derive(Debug)]
pub struct SharedCounts {
    words: NonNull<AtomicU64>,
    length: usize,
    /// The length of a slot.
    slot_words: usize,
    /// Which slot is that of this process.
    own: usize,
}

// SAFETY: the memory belongs to the object, stays where it is, and consists of atomic numbers.
unsafe impl Send for SharedCounts {}
// SAFETY: as above.
unsafe impl Sync for SharedCounts {}

impl SharedCounts {
    /// Maps the counts.
    ///
    /// # Errors
    /// The file cannot be mapped, or it is too short.
    pub fn open(file: impl AsFd, own: usize, slots: usize) -> io::Result<Self> {
        let file = file.as_fd();
        let bytes = usize::try_from(fstat(file)?.st_size).unwrap_or(0);
        let length = bytes / size_of::<AtomicU64>();
        let slot_words = length.saturating_sub(PAGE_WORDS) / slots.max(1);
        if own >= slots || slot_words < PAGE_WORDS {
            return Err(Errno::INVAL.into());
        }
        // SAFETY: this is a new mapping, at an address that the system chooses.
        let memory = unsafe {
            mmap(
                ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                0,
            )
        }?;
        let words = NonNull::new(memory.cast()).ok_or(Errno::NOMEM)?;
        Ok(Self { words, length, slot_words, own })
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has this length, is aligned to pages and lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.length) }
    }

    fn slots(&self) -> impl Iterator<Item = &[AtomicU64]> {
        self.words()[PAGE_WORDS..].chunks_exact(self.slot_words)
    }

    fn own(&self) -> &[AtomicU64] {
        &self.words()[PAGE_WORDS + self.own * self.slot_words..][..self.slot_words]
    }

    /// Counts one more connection; returns `false` if all workers together have as many as the
    /// limit allows.
    pub(super) fn take(&self, limit: usize) -> bool {
        take(&self.own()[0], limit, || self.slots().map(|slot| slot[0].load(SeqCst)).sum())
    }

    /// Counts one connection less.
    pub(super) fn release(&self) {
        self.own()[0].fetch_sub(1, SeqCst);
    }

    /// Counts one more connection of an address; returns `false` if all workers together have as
    /// many of it as the limit allows. Only one thread of a worker may call this at a time.
    pub(super) fn take_address(&self, address: IpAddr, limit: usize) -> bool {
        let number = number(address);
        let Some(bucket) = self.bucket(number) else { return true };
        let own = &self.own()[bucket..][..BUCKET_ENTRIES * ENTRY_WORDS];
        let count = find(own, number).or_else(|| {
            // an entry that counts nothing may be any address's
            let free = own.chunks_exact(ENTRY_WORDS).find(|entry| entry[1].load(SeqCst) == 0)?;
            free[0].store(number, SeqCst);
            Some(&free[1])
        });
        let Some(count) = count else { return false };
        take(count, limit, || {
            let entries = self.slots().map(|slot| &slot[bucket..][..BUCKET_ENTRIES * ENTRY_WORDS]);
            entries
                .filter_map(|entries| find(entries, number))
                .map(|count| count.load(SeqCst))
                .sum()
        })
    }

    /// Counts one connection of an address less.
    pub(super) fn release_address(&self, address: IpAddr) {
        let number = number(address);
        let Some(bucket) = self.bucket(number) else { return };
        if let Some(count) = find(&self.own()[bucket..][..BUCKET_ENTRIES * ENTRY_WORDS], number) {
            count.fetch_sub(1, SeqCst);
        }
    }

    /// Where in each slot the bucket of an address begins; `None` if there is no table.
    fn bucket(&self, number: u64) -> Option<usize> {
        let buckets = (self.slot_words - PAGE_WORDS) / (BUCKET_ENTRIES * ENTRY_WORDS);
        // clients must not be able to choose addresses that have a bucket in common
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.words()[0].load(SeqCst));
        hasher.write_u64(self.words()[1].load(SeqCst));
        hasher.write_u64(number);
        let bucket = hasher.finish().checked_rem(buckets as u64)?;
        Some(PAGE_WORDS + usize::try_from(bucket).ok()? * BUCKET_ENTRIES * ENTRY_WORDS)
    }
}

impl Drop for SharedCounts {
    fn drop(&mut self) {
        // SAFETY: nothing refers to the mapping any more. If this fails, it stays.
        let _ = unsafe { munmap(self.words.as_ptr().cast(), self.length * size_of::<AtomicU64>()) };
    }
}

/// Adds one to a count unless the sum is above the limit then.
fn take(count: &AtomicU64, limit: usize, sum: impl Fn() -> u64) -> bool {
    for _ in 0..TRIES {
        count.fetch_add(1, SeqCst);
        if sum() <= limit as u64 {
            return true;
        }
        count.fetch_sub(1, SeqCst);
        if sum() >= limit as u64 {
            return false;
        }
    }
    false
}

/// The count of an address in a bucket.
fn find(entries: &[AtomicU64], number: u64) -> Option<&AtomicU64> {
    let found = entries.chunks_exact(ENTRY_WORDS).find(|entry| entry[0].load(SeqCst) == number)?;
    Some(&found[1])
}

/// A number for an IPv4 address or the first half of an IPv6 address; never 0, which is no address.
fn number(address: IpAddr) -> u64 {
    match address {
        // ffff:ffff:... is in the range for multicast, from which nobody connects
        IpAddr::V4(address) => 0xffff_ffff_0000_0000 | u64::from(address.to_bits()),
        IpAddr::V6(address) => {
            let network = (address.to_bits() >> 64) as u64;
            // ::/64 has the addresses of the machine itself
            if network == 0 {
                0xffff_fffe_0000_0000
            } else {
                network
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::{remove_file, File},
        sync::atomic::AtomicUsize,
        thread,
    };

    use super::*;

    static FILES: AtomicUsize = AtomicUsize::new(0);

    /// The counts as two workers see them.
    fn pair(buckets: usize) -> [SharedCounts; 2] {
        let name = format!("fastwsh-counts-{}-{}", std::process::id(), FILES.fetch_add(1, SeqCst));
        let path = std::env::temp_dir().join(name);
        let words = PAGE_WORDS + 2 * (PAGE_WORDS + buckets * BUCKET_ENTRIES * ENTRY_WORDS);
        let file = File::create_new(&path)
            .and_then(|_| File::options().read(true).write(true).open(&path))
            .expect("a file");
        remove_file(&path).expect("removed");
        file.set_len((words * 8) as u64).expect("space");
        [0, 1].map(|own| SharedCounts::open(&file, own, 2).expect("mapped"))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_limit_holds_for_all_workers_together() {
        let [one, two] = pair(0);
        assert!(one.take(3) && two.take(3) && one.take(3));
        assert!(!one.take(3) && !two.take(3));
        two.release();
        assert!(one.take(3));
        assert!(!two.take(3));
    }

    #[test]
    fn a_limit_holds_for_each_address() {
        let [one, two] = pair(4);
        let (first, second, third) = (address("10.0.0.1"), address("2001:db8::"), address("::"));
        assert!(one.take_address(first, 2) && two.take_address(first, 2));
        assert!(!one.take_address(first, 2) && !two.take_address(first, 2));
        assert!(two.take_address(second, 1) && two.take_address(third, 1));
        assert!(!one.take_address(second, 1) && !one.take_address(third, 1));
        one.release_address(first);
        assert!(two.take_address(first, 2));
    }

    #[test]
    fn entries_of_addresses_that_have_gone_are_used_again() {
        let [one, two] = pair(1);
        for number in 0..1000_u32 {
            let address = IpAddr::V4(number.into());
            assert!(one.take_address(address, 1) && !two.take_address(address, 1));
            one.release_address(address);
        }
        // more addresses at a time than a bucket has entries
        let taken = (0..100_u32).filter(|number| one.take_address(IpAddr::V4((*number).into()), 1));
        assert_eq!(taken.count(), BUCKET_ENTRIES);
    }

    #[test]
    fn concurrent_workers_never_exceed_the_limit() {
        let workers = pair(1);
        let (address, open) = (address("10.0.0.1"), AtomicUsize::new(0));
        thread::scope(|scope| {
            for worker in &workers {
                let open = &open;
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        if worker.take(1) {
                            assert!(worker.take_address(address, 1));
                            assert_eq!(open.fetch_add(1, SeqCst), 0);
                            open.fetch_sub(1, SeqCst);
                            worker.release_address(address);
                            worker.release();
                        }
                    }
                });
            }
        });
        assert!(workers[0].take(1));
    }

    #[test]
    fn a_file_that_is_too_short_is_refused() {
        let file = File::open("/dev/null").expect("opened");
        assert!(SharedCounts::open(&file, 0, 2).is_err());
    }
}
