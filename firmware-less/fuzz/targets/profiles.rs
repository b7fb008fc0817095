//! Any sections in any order, and any profile of them: what holds for a profile is
//! its own section, or else the base's.
#![no_main]

use firmware_less::{
    testing::uki,
    uki::{Name, Selector, Uki},
};
use libfuzzer_sys::fuzz_target;

/// Sections, and which profile is asked for.
type Job = (Vec<(u8, Vec<u8>)>, Result<u8, String>);

fuzz_target!(|job: Job| {
    let (sections, wanted) = job;
    let named =
        |(name, content): (u8, Vec<u8>)| (Name::ALL[usize::from(name) % Name::ALL.len()], content);
    let sections: Vec<_> = sections.into_iter().take(64).map(named).collect();
    let image =
        sections.iter().fold(uki().section(".linux", "kernel"), |image, (name, content)| {
            image.section(name.as_str(), content)
        });
    let file = image.build();
    let Ok(uki) = Uki::read(&file) else { return };
    let selector = match wanted {
        Ok(number) => Selector::Number(number.into()),
        Err(id) => Selector::Id(id),
    };
    let Ok(number) = selector.find(&file, &uki) else { return };
    let profile = uki.profile(number).expect("it was found");

    let parts: Vec<_> = sections.split(|(name, _)| *name == Name::Profile).collect();
    assert_eq!(uki.profile_count(), parts.len() - 1);
    for name in Name::ALL {
        let of = |part: &[(Name, Vec<u8>)]| {
            part.iter().find(|(found, _)| *found == name).map(|(_, content)| content.len())
        };
        let own = parts.get(number + 1).and_then(|own| of(own));
        let expected = own.or_else(|| of(parts[0])).filter(|&len| len > 0);
        let found = profile.section(name).map(|section| section.virtual_size as usize);
        match name {
            // The base has one before all others; and the delimiter was cut away.
            Name::Linux | Name::Profile => {}
            _ => assert_eq!(found, expected, "{name} of profile {number}"),
        }
    }
});
