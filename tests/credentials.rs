//! Credentials, and options that are some: what is refused, and with what status.

use crate::support::{Ran, Scratch, is_as_kept, sound_uki};

const SEED: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

fn plan(scratch: &Scratch, arguments: &[&str]) -> Ran {
    scratch.file("foo.efi", sound_uki());
    scratch.ukivm(["plan", "--rng-seed", SEED, "foo.efi"].iter().chain(arguments))
}

#[test]
fn a_plan_with_credentials_reads_as_kept() {
    let scratch = Scratch::new();
    let told = ["--set-credential", r"a.b:\x00", "--hostname", "web"];
    let ran = plan(&scratch, &told);
    assert_eq!((ran.status, ran.stderr.as_str()), (Some(0), ""));
    is_as_kept("plans/credentials.txt", &ran.stdout);
}

/// What `ukivm plan` says of `arguments`, which it refuses with `status`.
fn refused(status: i32, scratch: &Scratch, arguments: &[&str]) -> String {
    let ran = plan(scratch, arguments);
    assert_eq!((ran.status, ran.stdout.as_str()), (Some(status), ""), "{arguments:?}: {ran:?}");
    ran.stderr
}

#[test]
fn what_is_wrongly_typed_is_64() {
    let scratch = Scratch::new();
    scratch.file("x", "x");
    for (arguments, said) in [
        (&["--set-credential", "a"][..], "give ID:VALUE, with a colon between"),
        (&["--set-credential", "a/b:c"], "\"a/b\" is no name of a credential: need 1 to 255"),
        (&["--set-credential", r"a:\z"], "no escape sequence; a backslash is written as two"),
        (&["--load-credential", "a"], "give ID:PATH, with a colon between"),
        (&["--load-credential", "a:"], "there is no path behind the colon"),
        (&["--hostname", "a b"], "need at most 64 characters: letters, digits"),
        (&["--hostname", "a", "--hostname", "b"], "cannot be used multiple times"),
        (&["--set-credential", "a:b", "--load-credential", "a:x"], "credential a is set twice"),
        (
            &["--set-credential", "system.hostname:a", "--hostname", "b"],
            "the credential system.hostname is set twice",
        ),
    ] {
        let stderr = refused(64, &scratch, arguments);
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn a_file_that_is_not_to_be_had_is_74() {
    let scratch = Scratch::new();
    assert_eq!(
        refused(74, &scratch, &["--load-credential", "a:nowhere"]),
        "ukivm: nowhere: can't be opened: No such file or directory (os error 2)\n"
    );
    assert_eq!(
        refused(74, &scratch, &["--ssh-key", "."]),
        "ukivm: .: is a directory, not a regular file\n"
    );
}

#[test]
fn a_file_that_can_t_be_told_is_65() {
    let scratch = Scratch::new();
    scratch.file("long", vec![b'x'; 40_000]);
    scratch.file("longer", vec![b'x'; (1 << 20) + 1]);
    scratch.file("secret", "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n");
    scratch.file("empty", "");
    scratch.file("binary", [0xff; 20]);
    for (arguments, said) in [
        (
            ["--load-credential", "a:long"],
            "the SMBIOS tables would take 40156 bytes, there is room for 36608: credentials and \
             other strings must be shorter",
        ),
        (
            ["--load-credential", "a:longer"],
            "longer: the credential a has 1048577 bytes or more, systemd takes at most 1048576",
        ),
        (["--ssh-key", "secret"], "secret: is no public key for ssh: it is a private key"),
        (["--ssh-key", "empty"], "it has no line with a key's type and the key"),
        (["--ssh-key", "binary"], "it is not text"),
    ] {
        let stderr = refused(65, &scratch, &arguments);
        assert!(stderr.contains(said), "{stderr}");
    }
}

#[test]
fn ways_to_boot_that_can_t_be_told_say_so() {
    let scratch = Scratch::new();
    scratch.file("foo.efi", sound_uki());
    let options = ["bench", "--runs", "1", "--warmup", "0", "--arm", "qemu", "--hostname", "a"];
    let ran = scratch.ukivm(options.iter().chain(&["foo.efi"]));
    assert_ne!(ran.status, Some(0));
    assert!(ran.stderr.contains("this way to boot can't be told all that"), "{ran:?}");
}
