//! Base and profiles, merged as systemd-stub merges them.

use firmware_less::{
    testing::{Image, uki},
    uki::{Name, Selector, Uki},
};

fn three_profiles() -> Image {
    uki()
        .section(".linux", "kernel")
        .section(".cmdline", "base")
        .section(".osrel", "ID=a")
        .section(".profile", "ID=main")
        .section(".profile", "ID=other")
        .section(".cmdline", "other")
        .section(".profile", "ID=none")
        .section(".cmdline", "")
}

/// What a profile makes of a section.
fn content(file: &[u8], profile: usize, name: Name) -> Option<String> {
    let uki = Uki::read(file).unwrap();
    let range = uki.profile(profile).unwrap().section(name)?.range();
    let bytes = firmware_less::read_at::fetch(file, range.offset(), range.len()).unwrap();
    Some(String::from_utf8(bytes).unwrap())
}

#[test]
fn a_profile_inherits_replaces_or_masks() {
    let file = three_profiles().build();
    assert_eq!(content(&file, 0, Name::Cmdline).as_deref(), Some("base"));
    assert_eq!(content(&file, 1, Name::Cmdline).as_deref(), Some("other"));
    assert_eq!(content(&file, 2, Name::Cmdline), None);
    for profile in 0..3 {
        assert_eq!(content(&file, profile, Name::Osrel).as_deref(), Some("ID=a"));
        assert_eq!(content(&file, profile, Name::Linux).as_deref(), Some("kernel"));
    }
}

#[test]
fn a_profile_describes_itself() {
    let file = three_profiles().build();
    assert_eq!(content(&file, 0, Name::Profile).as_deref(), Some("ID=main"));
    assert_eq!(content(&file, 2, Name::Profile).as_deref(), Some("ID=none"));
}

#[test]
fn the_base_ends_where_the_first_profile_begins() {
    let file = three_profiles().build();
    let uki = Uki::read(&file).unwrap();
    assert_eq!(uki.base().iter().count(), 3);
    assert_eq!(uki.profile_count(), 3);
}

#[test]
fn an_image_without_profiles_has_profile_0() {
    let file = uki().section(".linux", "kernel").build();
    let uki = Uki::read(&file).unwrap();
    assert_eq!(uki.profile_count(), 0);
    assert!(uki.profile(0).unwrap().linux().is_ok());
    assert_eq!(
        uki.profile(1).unwrap_err().to_string(),
        "there is no profile 1: this UKI has no profiles, so only 0 will do"
    );
}

#[test]
fn a_profile_that_is_not_there_is_refused_with_those_that_are() {
    let many = Uki::read(&three_profiles().build()).unwrap();
    for wanted in [3, 9, usize::MAX] {
        assert_eq!(
            many.profile(wanted).unwrap_err().to_string(),
            format!("there is no profile {wanted}: this UKI has profiles 0 to 2")
        );
    }
    let one = uki().section(".linux", "kernel").section(".profile", "ID=a").build();
    assert_eq!(
        Uki::read(&one).unwrap().profile(1).unwrap_err().to_string(),
        "there is no profile 1: this UKI has only profile 0"
    );
}

#[test]
fn a_kernel_may_be_in_one_profile_only() {
    let image = uki()
        .section(".profile", "ID=a")
        .section(".profile", "ID=b")
        .section(".linux", "kernel")
        .section(".profile", "ID=c")
        .section(".linux", "");
    let uki = Uki::read(&image.build()).unwrap();
    assert!(uki.profile(1).unwrap().linux().is_ok());
    for without in [0, 2] {
        assert_eq!(
            uki.profile(without).unwrap().linux().unwrap_err().to_string(),
            format!("profile {without} has no kernel: .linux is missing or masked by an empty one")
        );
    }
}

/// What a selector finds: a number, or why none.
fn find(image: &Image, wanted: &str) -> Result<usize, String> {
    let file = image.build();
    let Ok(selector) = wanted.parse::<Selector>();
    selector.find(&file, &Uki::read(&file).unwrap()).map_err(|error| error.to_string())
}

#[test]
fn a_profile_is_found_by_its_number_or_its_id() {
    let image = three_profiles();
    assert_eq!(find(&image, "1"), Ok(1));
    assert_eq!(find(&image, "other"), Ok(1));
    assert_eq!(find(&image, "main"), Ok(0));
    assert_eq!(find(&uki().section(".linux", "kernel"), "0"), Ok(0));
}

#[test]
fn a_profile_that_is_not_found_is_answered_with_those_there_are() {
    let image = uki()
        .section(".linux", "kernel")
        .section(".profile", "ID=main\nTITLE=\"Boot it\"\n")
        .section(".profile", "TITLE=Reset")
        .section(".profile", "");
    let there = "this UKI has 0 (ID main, \"Boot it\"), 1 (\"Reset\"), 2";
    assert_eq!(find(&image, "3"), Err(format!("there is no profile 3: {there}")));
    assert_eq!(find(&image, "Main"), Err(format!("there is no profile \"Main\": {there}")));
    let without = uki().section(".linux", "kernel");
    assert_eq!(
        find(&without, "main"),
        Err("there is no profile \"main\": this UKI has no profiles, so only 0 will do".to_owned())
    );
}

#[test]
fn of_many_profiles_the_first_are_listed() {
    let image = (0..40).fold(uki().section(".linux", "kernel"), |image, number| {
        image.section(".profile", format!("ID=p{number}"))
    });
    assert_eq!(find(&image, "p39"), Ok(39));
    let error = find(&image, "p40").unwrap_err();
    assert!(error.ends_with("15 (ID p15), and 24 more"), "{error}");
}

#[test]
fn an_id_that_two_profiles_have_is_refused() {
    let image = three_profiles().section(".profile", "ID=other");
    assert_eq!(
        find(&image, "other"),
        Err("profiles 1 and 3 both have the ID \"other\": name one by its number".to_owned())
    );
}

#[test]
fn a_profile_knows_its_number() {
    let uki = Uki::read(&three_profiles().build()).unwrap();
    assert_eq!([0, 1, 2].map(|number| uki.profile(number).unwrap().number()), [0, 1, 2]);
}
