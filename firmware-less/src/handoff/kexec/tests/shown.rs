//! The same hand-off as people and scripts read it, and with another guest in it.

use super::*;
use crate::{cpu_state::Segment, plan::BootPlan};

#[test]
fn a_plan_as_json_says_where_each_piece_comes_from() {
    let plan = measured_plan();
    let json = serde_json::to_value(&plan).unwrap();
    let placement = |name: &str| {
        let all = json["placements"].as_array().unwrap();
        all.iter().find(|placement| placement["name"] == name).unwrap()
    };
    let kernel = &placement("kernel")["pieces"][0];
    assert_eq!((&kernel["from"], &kernel["file"]), (&"file".into(), &0.into()));
    assert_eq!((&kernel["file_offset"], &kernel["len"]), (&1024.into(), &0x1_0000.into()));
    let params = &placement("params")["pieces"][0];
    assert_eq!((&params["from"], params.get("file")), (&"plan".into(), None));
    assert_eq!(json["machine"]["cpus"], 1);
    assert_eq!(json["cpu"]["registers"]["rip"], plan.cpu().registers.rip);
    assert_eq!(json["memory_map"][0]["kind"], "ram");
}

#[test]
fn the_state_of_the_processor_shows_as_a_kernel_s_own_dump_does() {
    let cpu = measured_plan().cpu().clone();
    let shown = cpu.to_string();
    let rip = format!("rip {:016x}  rflags {:08x}\n", cpu.registers.rip, cpu.registers.rflags);
    assert!(shown.starts_with(&rip), "{shown}");
    for (name, value) in cpu.registers.general() {
        assert!(shown.contains(&format!("{name:<3} {value:016x}")), "{name}: {shown}");
    }
    for (name, segment) in cpu.segments() {
        let Segment { selector, base, limit, usable, .. } = segment;
        let descriptor = segment.descriptor();
        let line = if usable {
            format!("{selector:04x}  base {base:x}  limit {limit:x}  descriptor {descriptor:016x}")
        } else {
            "unusable".to_owned()
        };
        let line = format!("\n{name:<4} {line}\n");
        assert!(shown.contains(&line), "{name}: {shown}");
    }
    for rest in ["gdtr ", "idtr ", "apic tpr ", "pic  mask ", "msr  mtrr_def_type ", "fpu  fcw "] {
        assert!(shown.contains(&format!("\n{rest}")), "{shown}");
    }
}

#[test]
fn another_guest_takes_the_kernel_s_place_at_its_entry_if_it_fits() {
    let laid_out = measured(Flavour::Modern);
    let kernel = laid_out.layout().kernel;
    let plan = laid_out.with_guest(&[0xf4; 3]).unwrap().plan(None).unwrap();
    let placement = plan.placement("kernel").unwrap();
    assert_eq!(placement.range, kernel);
    assert_eq!(
        placement.pieces,
        [Piece { offset: ENTRY_64, content: Content::Bytes(vec![0xf4; 3]) }]
    );
    assert_eq!(plan.cpu().registers.rip, kernel.start() + ENTRY_64);
    let room = kernel.len() - ENTRY_64;
    assert!(measured(Flavour::Modern).with_guest(&vec![0xf4; index(room)]).is_ok());
    assert_eq!(
        measured(Flavour::Modern).with_guest(&vec![0xf4; index(room) + 1]).unwrap_err().to_string(),
        format!(
            "kernel: content ends at offset {:#x}, the range has {:#x} bytes",
            kernel.len() + 1,
            kernel.len()
        )
    );
}

fn measured_plan() -> BootPlan {
    measured(Flavour::Modern).plan(None).unwrap()
}
