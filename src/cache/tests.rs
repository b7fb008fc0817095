//! The cache, kept and damaged and shared.

use std::{os::unix::fs::PermissionsExt as _, thread};

use super::*;

const KEY: Key = Key { kind: Kind::Kernel, digest: [0xab; 32] };

/// More than is read at once.
const LEN: usize = (1 << 18) + 77;

fn cache() -> (tempfile::TempDir, Cache) {
    let scratch = tempfile::tempdir().unwrap();
    let cache = Cache::at(scratch.path().join("ukivm/unpacked")).unwrap();
    (scratch, cache)
}

fn kernel() -> Vec<u8> {
    (0..251).cycle().take(LEN).collect()
}

fn bytes(file: &OpenFile) -> Vec<u8> {
    firmware_less::read_at::fetch(file, 0, file.len).unwrap()
}

fn found(cache: &Cache) -> Vec<u8> {
    match cache.find(&KEY).unwrap() {
        Found::Unpacked(file) => bytes(&file),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_was_kept_is_found_and_nothing_else() {
    let (_scratch, cache) = cache();
    assert!(matches!(cache.find(&KEY).unwrap(), Found::Nothing));
    assert_eq!(bytes(&cache.keep(&KEY, &kernel()).unwrap()), kernel());
    assert_eq!(found(&cache), kernel());
    assert!(matches!(cache.find(&Key { digest: [1; 32], ..KEY }).unwrap(), Found::Nothing));
    assert!(matches!(cache.find(&Key { kind: Kind::Initrd, ..KEY }).unwrap(), Found::Nothing));
}

#[test]
fn a_flipped_byte_and_a_cut_are_noticed_wherever_they_are_and_mended() {
    let (_scratch, cache) = cache();
    cache.keep(&KEY, &kernel()).unwrap();
    let path = cache.path(&KEY);
    let sound = fs::read(&path).unwrap();
    // Past the CRC the seal says nothing, and must be zero all the same.
    for at in [0, 1, LEN / 2, sound.len() - 33, sound.len() - 32, sound.len() - 16, sound.len() - 1]
    {
        let mut flipped = sound.clone();
        flipped[at] ^= 0x10;
        fs::write(&path, flipped).unwrap();
        assert!(matches!(cache.find(&KEY).unwrap(), Found::Damaged), "{at}");
    }
    for len in [0, 31, 32, sound.len() - 1] {
        fs::write(&path, &sound[..len]).unwrap();
        assert!(matches!(cache.find(&KEY).unwrap(), Found::Damaged), "{len}");
    }
    cache.keep(&KEY, &kernel()).unwrap();
    assert_eq!(found(&cache), kernel());
}

#[test]
fn what_is_zero_takes_no_room_and_need_not_be_read() {
    let (_scratch, cache) = cache();
    let mut kernel = [kernel(), vec![0; 3 * LEN], kernel()].concat();
    kernel[LEN + 5] = 0;
    let kept = cache.keep(&KEY, &kernel).unwrap();
    let Found::Unpacked(found) = cache.find(&KEY).unwrap() else { panic!("it was kept") };
    assert!(bytes(&found) == kernel);
    assert_eq!(found.data, kept.data);
    let runs = found.data.as_ref().expect("they are known");
    let skipped = found.len - runs.iter().map(|run| run.len()).sum::<u64>();
    assert!(runs.len() == 2 && skipped > 2 * LEN as u64, "{runs:?}");
    assert!(found.file().unwrap().metadata().unwrap().blocks() * 512 < 3 * LEN as u64);

    // What was a hole may not hold anything, and where holes are may not change.
    let path = cache.path(&KEY);
    let sound = fs::read(&path).unwrap();
    for at in [2 * LEN, sound.len() - 40, sound.len() - 64] {
        let mut flipped = sound.clone();
        flipped[at] ^= 1;
        fs::write(&path, flipped).unwrap();
        assert!(matches!(cache.find(&KEY).unwrap(), Found::Damaged), "{at}");
    }
}

#[test]
fn what_was_kept_in_a_former_form_is_not_damaged_and_is_kept_anew() {
    let (_scratch, cache) = cache();
    let former = [&kernel()[..], b"ukivm-unpacked-1", &[7; 4], &[0; 12]].concat();
    fs::write(cache.path(&KEY), former).unwrap();
    assert!(matches!(cache.find(&KEY).unwrap(), Found::Nothing));
    cache.keep(&KEY, &kernel()).unwrap();
    assert_eq!(found(&cache), kernel());
}

#[test]
fn only_its_user_can_read_it() {
    let (scratch, cache) = cache();
    cache.keep(&KEY, &kernel()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&cache.path(&KEY)), 0o600);
    assert_eq!(mode(&cache.folder), 0o700);
    assert_eq!(mode(&scratch.path().join("ukivm")), 0o700);
    fs::set_permissions(&cache.folder, fs::Permissions::from_mode(0o755)).unwrap();
    let error = Cache::at(cache.folder).unwrap_err().to_string();
    assert!(error.contains("is not a folder that only its user can use"), "{error}");
}

#[test]
fn what_was_used_longest_ago_makes_room() {
    let (_scratch, cache) = cache();
    // Sparse: they say that they are large and take no room.
    let large = |name: &str, age: u64| {
        let file = File::create(cache.folder.join(name)).unwrap();
        file.set_len(BYTES_MAX / 2).unwrap();
        let then = SystemTime::now() - Duration::from_secs(age);
        file.set_modified(then).unwrap();
    };
    large("oldest", 300);
    large("old", 200);
    cache.keep(&KEY, &kernel()).unwrap();
    let mut names: Vec<_> = fs::read_dir(&cache.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, [format!("{}.vmlinux", hex(&KEY.digest)), "old".to_owned()]);
}

#[test]
fn many_at_once_leave_one_sound_file_and_nothing_else() {
    let (_scratch, cache) = cache();
    thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                for _ in 0..10 {
                    cache.keep(&KEY, &kernel()).unwrap();
                    if let Found::Unpacked(file) = cache.find(&KEY).unwrap() {
                        assert_eq!(bytes(&file), kernel());
                    }
                }
            });
        }
    });
    assert_eq!(found(&cache), kernel());
    assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1);
}

/// How many things are remembered of files that did not change.
fn known(cache: &Cache) -> usize {
    let entries = fs::read_dir(&cache.folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.extension().is_some_and(|it| it == "known")).count()
}

#[test]
fn what_did_not_change_is_not_read_again_and_a_change_is_noticed_all_the_same() {
    let (scratch, cache) = cache();
    let path = scratch.path().join("packed");
    fs::write(&path, b"packed").unwrap();
    let packed = OpenFile::open(&path).unwrap();
    let key = |file| cache.key(Kind::Kernel, file, FileRange::first(6)).unwrap();
    let first = key(&packed);
    assert_eq!(first, Key::of_bytes(Kind::Kernel, b"packed"));
    cache.keep(&first, &kernel()).unwrap();
    assert!(matches!(cache.find(&first).unwrap(), Found::Unpacked(_)));
    assert_eq!(known(&cache), 0, "they are too fresh");

    let quiet = Duration::from_millis(2100);
    thread::sleep(quiet);
    for _ in 0..2 {
        assert_eq!(key(&packed), first);
        assert!(matches!(cache.find(&first).unwrap(), Found::Unpacked(_)));
        assert_eq!(known(&cache), 2);
    }

    let kept = cache.path(&first);
    let mut flipped = fs::read(&kept).unwrap();
    flipped[LEN / 2] ^= 1;
    let before = fs::metadata(&kept).unwrap();
    fs::write(&kept, flipped).unwrap();
    File::options()
        .write(true)
        .open(&kept)
        .unwrap()
        .set_modified(before.modified().unwrap())
        .unwrap();
    fs::write(&path, b"PACKED").unwrap();
    for _ in 0..2 {
        assert!(matches!(cache.find(&first).unwrap(), Found::Damaged));
        assert_eq!(key(&packed), Key::of_bytes(Kind::Kernel, b"PACKED"));
        thread::sleep(quiet);
    }
}
