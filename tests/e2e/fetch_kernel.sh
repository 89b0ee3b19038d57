#!/usr/bin/env bash
# A Linux kernel and the USB modules for the tests that boot a guest, in heddle's cache (HEDDLE_CACHE, else XDG_CACHE_HOME/heddle, else ~/.cache/heddle) as
# guest-kernel/{kernel,release,modules/}. `./bootstrap test` runs it. A kernel installed on this machine is copied; without one Debian's is downloaded by
# apt (70 MB) and unpacked: nothing is installed and no privilege is needed. Exit 1 with the reason when there is none.
set -euo pipefail
die() { printf 'guest kernel: %s\n' "$*" >&2; exit 1; }
# Folders below lib/modules/RELEASE/kernel; what a guest needs for the network, for USB/IP, for xHCI and for serial bridges.
modules=(drivers/virtio/{virtio,virtio_ring,virtio_pci,virtio_pci_modern_dev,virtio_pci_legacy_dev} net/core/failover drivers/net/{net_failover,virtio_net}
    drivers/usb/common/usb-common drivers/usb/core/usbcore drivers/usb/usbip/{usbip-core,vhci-hcd} drivers/usb/host/{xhci-hcd,xhci-pci}
    drivers/usb/serial/{usbserial,ftdi_sio})

[ "$(uname -m)" = x86_64 ] || die "found machine $(uname -m); the guest runs programs of this machine on an x86_64"
if [ -n "${HEDDLE_CACHE:-}" ]; then cache=$HEDDLE_CACHE
elif [ -n "${XDG_CACHE_HOME:-}" ]; then cache=$XDG_CACHE_HOME/heddle
else cache=${HOME:?is not set; set HEDDLE_CACHE}/.cache/heddle; fi
[ -f "$cache/guest-kernel/release" ] && exit 0
mkdir -p "$cache" && cache=$(readlink -f "$cache") || die "$cache: cannot be made; set HEDDLE_CACHE to a writable folder"
# Everything happens under another name; a run that is stopped leaves nothing.
new=$(mktemp -d "$cache/guest-kernel.new-XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 130' INT TERM

number() { od -An -t"u$3" -j"$2" -N"$3" "$1" | tr -d ' '; }

# The ELF file inside of a bzImage (Documentation/arch/x86/boot: setup_sects at 0x1f1, payload_offset and payload_length at 0x248): QEMU starts it in half
# the time, as nothing is left to be unpacked by an emulated processor. The image itself where its compression is none of these.
unpack_image() {
    local at length tool
    at=$((($(number "$1" $((0x1f1)) 1) + 1) * 512 + $(number "$1" $((0x248)) 4)))
    length=$(number "$1" $((0x24c)) 4)
    case $(od -An -tx1 -j$at -N4 "$1" | tr -d ' ') in
        fd377a58) tool='xz --single-stream' ;;
        28b52ffd) tool=zstd ;;
        1f8b*) tool=gzip ;;
        *) tool= ;;
    esac
    # Four bytes behind the stream, its length, are no part of it: tools may complain about them, after they have written everything.
    [ -n "$tool" ] && tail -c +$((at + 1)) "$1" | head -c $((length - 4)) | $tool -dc >"$2" 2>/dev/null
    [ "$(head -c 4 "$2" 2>/dev/null | od -An -tx1 | tr -d ' ')" = 7f454c46 ] || cp "$1" "$2"
}

# take ROOT RELEASE: kernel and modules of an unpacked package, or of this machine. 1 when one is missing.
take() {
    local module file
    [ -r "$1/boot/vmlinuz-$2" ] || return 1
    rm -rf "$new/modules"
    mkdir "$new/modules"
    for module in "${modules[@]}"; do
        file=$(compgen -G "$1/lib/modules/$2/kernel/$module.ko*" || compgen -G "$1/usr/lib/modules/$2/kernel/$module.ko*") || return 1
        case $file in
            *.ko) cp "$file" "$new/modules/" ;;
            *.ko.xz) xz -dc "$file" >"$new/modules/${module##*/}.ko" ;;
            *.ko.zst) zstd -q -dc "$file" >"$new/modules/${module##*/}.ko" ;;
            *) return 1 ;;
        esac || return 1
    done
    unpack_image "$1/boot/vmlinuz-$2" "$new/kernel" && echo "$2" >"$new/release"
}

finish() {
    chmod 755 "$new"
    rm -rf "$cache/guest-kernel" "$new/package" "$new"/*.deb
    mv -T "$new" "$cache/guest-kernel"
    echo "guest kernel: $(<"$cache/guest-kernel/release"), $1, in $cache/guest-kernel"
    exit 0
}

for installed in /boot/vmlinuz-*; do
    [ -e "$installed" ] && take "" "${installed#/boot/vmlinuz-}" && finish "copied from this machine's"
done
command -v apt-get >/dev/null || die "no kernel of this machine has the USB modules, and without apt-get none can be downloaded"
package=$(LC_ALL=C apt-cache depends --no-recommends --no-suggests linux-image-amd64 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)$/\1/p' | head -n 1)
[ -n "$package" ] || die "apt knows no package linux-image-amd64; run apt-get update"
echo "guest kernel: downloading $package, 70 MB"
(cd "$new" && apt-get -q -o APT::Sandbox::User="$(id -un)" download "$package" >log 2>&1) || { tail -n 3 "$new/log" >&2; die "apt-get download $package failed (its last lines are above)"; }
mkdir "$new/package"
dpkg-deb --fsys-tarfile "$new"/*.deb | tar -x -C "$new/package" --wildcards './boot/vmlinuz*' './*lib/modules/*/drivers/usb/*' './*lib/modules/*/drivers/virtio/*' \
    './*lib/modules/*/drivers/net/*net*' './*lib/modules/*/net/core/*' || die "$package cannot be unpacked (is the disk full?)"
rm -f "$new/log"
take "$new/package" "${package#linux-image-}" || die "$package lacks its kernel or one of the modules ${modules[*]##*/}"
finish "unpacked from $package"
