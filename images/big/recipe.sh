# shellcheck shell=bash
# big.efi: a UKI whose initrd is 200 MiB, as distribution ones with firmware in them are.

build_big() {
    source_recipe small
    padded_product big.efi recipe:big $((200 * 1024 * 1024))
}
