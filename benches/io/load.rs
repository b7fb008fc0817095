//! The load of `benches/io/run`. In a guest, `load HOST [PART]`: reads and writes its disk, and
//! talks with HOST, in phases that it tells on its console: those with PART in their name. On the
//! host, `load`: the other end.
//!
//! Not of the workspace: `run` has rustc make one static program of it.

use std::{
    env,
    fs::File,
    io::{self, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::fs::{FileExt, OpenOptionsExt},
    thread,
    time::{Duration, Instant},
};

const PORT: u16 = 7000;
/// What a connection is for, by its first byte: to be read from, to be written to, to be
/// answered.
const TAKE: u8 = b't';
const GIVE: u8 = b'g';
const ECHO: u8 = b'e';
/// What telling costs is the cost of this, when the guest has settled.
const NOTHING: &str = "nothing";
const PIECE: usize = 1 << 16;
const NET_PIECES: u64 = 128;
const ASKED: u64 = 512;

/// Past the page cache. asm-generic/fcntl.h.
const O_DIRECT: i32 = 0o40000;
const DISK: &str = "/dev/vda";
/// As much of it is used.
const DISK_LEN: u64 = 64 << 20;

fn main() -> io::Result<()> {
    match env::args().nth(1) {
        Some(host) => guest(&host),
        None => host(),
    }
}

/// Tells what `work` costs, in nanoseconds a request, twice: the second time somebody may count
/// beside, which costs something too. It is the time of the guest, who sleeps before and
/// behind, so that whoever counts can begin and end.
fn phase(name: &str, requests: u64, mut work: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let is_wanted = |part: String| name.contains(&part) || name == NOTHING;
    if !env::args().nth(2).is_none_or(is_wanted) {
        return Ok(());
    }
    for how in ["timed", "counted"] {
        println!("ukivm-guest: begin={how}");
        thread::sleep(Duration::from_secs(5));
        let start = Instant::now();
        work()?;
        let time = start.elapsed().as_nanos() / u128::from(requests);
        println!("ukivm-guest: end={how} {name} {requests} {time}");
        thread::sleep(Duration::from_secs(5));
    }
    Ok(())
}

fn guest(host: &str) -> io::Result<()> {
    for _ in ["settles", "is counted"] {
        phase(NOTHING, 1, || Ok(()))?;
    }
    for (name, len, threads, count, writes) in [
        ("read-4K", 4096, 1, 2048, false),
        ("write-4K", 4096, 1, 2048, true),
        ("read-4K-of-16", 4096, 16, 2048, false),
        ("write-4K-of-16", 4096, 16, 2048, true),
        ("read-512K", 512 << 10, 1, 512, false),
        ("write-512K", 512 << 10, 1, 512, true),
    ] {
        phase(name, count, || disk(len, threads, count, writes))?;
    }
    // Each time anew: passt 0.0~git20230309 resets a connection that has been idle for seconds.
    let connect = |what: u8| -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect((host, PORT))?;
        stream.set_nodelay(true)?;
        stream.write_all(&[what])?;
        Ok(stream)
    };
    let mut piece = vec![7; PIECE];
    phase("send-64K", NET_PIECES, || {
        let mut stream = connect(TAKE)?;
        for _ in 0..NET_PIECES {
            stream.write_all(&piece)?;
        }
        stream.read_exact(&mut [0])
    })?;
    phase("receive-64K", NET_PIECES, || {
        let mut stream = connect(GIVE)?;
        for _ in 0..NET_PIECES {
            stream.read_exact(&mut piece)?;
        }
        Ok(())
    })?;
    phase("ask-1", ASKED, || {
        let mut stream = connect(ECHO)?;
        for _ in 0..ASKED {
            stream.write_all(&[1])?;
            stream.read_exact(&mut [0])?;
        }
        Ok(())
    })
}

/// Reads or writes the disk: `count` requests of `len` bytes, in an order of chance that is the
/// same each time, by as many threads, each with one at a time.
fn disk(len: usize, threads: u64, count: u64, writes: bool) -> io::Result<()> {
    let disk = File::options().read(true).write(true).custom_flags(O_DIRECT).open(DISK)?;
    thread::scope(|scope| {
        let works: Vec<_> = (0..threads)
            .map(|seed| {
                let disk = &disk;
                scope.spawn(move || -> io::Result<()> {
                    let mut room = vec![1; len + 4096];
                    let start = room.as_ptr().align_offset(4096);
                    let buffer = &mut room[start..start + len];
                    let mut random = seed + 1;
                    for _ in 0..count / threads {
                        // Knuth's MMIX.
                        random = random
                            .wrapping_mul(6_364_136_223_846_793_005)
                            .wrapping_add(1_442_695_040_888_963_407);
                        let at = (random >> 33) % (DISK_LEN / len as u64) * len as u64;
                        if writes {
                            disk.write_all_at(buffer, at)?;
                        } else {
                            disk.read_exact_at(buffer, at)?;
                        }
                    }
                    Ok(())
                })
            })
            .collect();
        works.into_iter().try_for_each(|work| work.join().expect("no panic"))
    })
}

/// One connection at a time, of one guest at a time.
fn host() -> io::Result<()> {
    for stream in TcpListener::bind(("127.0.0.1", PORT))?.incoming() {
        let mut stream = stream?;
        stream.set_nodelay(true)?;
        // It ends with the guest's end.
        answer(&mut stream).ok();
    }
    Ok(())
}

fn answer(stream: &mut TcpStream) -> io::Result<()> {
    let mut piece = vec![7; PIECE];
    let mut what = [0];
    stream.read_exact(&mut what)?;
    match what[0] {
        TAKE => {
            for _ in 0..NET_PIECES {
                stream.read_exact(&mut piece)?;
            }
            stream.write_all(&[0])
        }
        GIVE => (0..NET_PIECES).try_for_each(|_| stream.write_all(&piece)),
        _ => loop {
            stream.read_exact(&mut what)?;
            stream.write_all(&what)?;
        },
    }
}
