#!/usr/bin/env bash
# Real Apptainer on a Debian 12, which has no package of it: that of Debian unstable, unpacked into a folder together with the
# C library it needs. Only Debian 12's own tools are installed, and only that needs root.
#
#   get_apptainer.sh FOLDER        afterwards: PATH=FOLDER/bin:$PATH
set -euo pipefail

folder=$(realpath -m "$1")
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
tools=(patchelf squashfs-tools squashfuse fuse3 uidmap)

dpkg --status "${tools[@]}" > /dev/null 2>&1 || apt-get -qy install --no-install-recommends "${tools[@]}"

mkdir -p "$folder"/{bin,lists/partial,archives/partial}
cd "$folder"
"$here/debian_source.sh" sid > sources.list
own=(-o "Dir::Etc::sourcelist=$folder/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::Lists=$folder/lists"
    -o "Dir::Cache=$folder" -o APT::Sandbox::User=root)
apt-get -q "${own[@]}" update
apt-get -q "${own[@]}" download apptainer libc6 libseccomp2 libsqlite3-0
for package in *.deb; do dpkg-deb -x "$package" root; done
rm -rf lists archives ./*.deb ./*.bin

# Both programs start with the unpacked C library and find all others beside it; what is no ELF file is left alone.
root=$folder/root
libraries=$root/usr/lib/$(uname -m)-linux-gnu
for program in "$root/usr/bin/apptainer" "$libraries/apptainer/bin/starter"; do
    patchelf --set-interpreter "$(echo "$libraries"/ld-linux-*.so.*)" --force-rpath --set-rpath "$libraries" "$program"
done
for library in libsqlite3.so.0 libseccomp.so.2; do  # a search path does not pass on to a library's own needs
    patchelf --force-rpath --set-rpath "$libraries" "$(realpath "$libraries/$library")"
done

# It looks for its settings and folders beside itself, where Debian's layout has them elsewhere.
mkdir -p "$root"/usr/var/lib/apptainer/mnt/session "$root"/usr/lib/var/lib/apptainer/mnt/session
cp -a "$root/etc" "$root/usr/"
ln -sfn ../etc "$root/usr/lib/etc"
# root in a container or a small virtual machine may lack some rights, which Apptainer would insist on passing on.
sed -i 's/^root default capabilities = .*/root default capabilities = no/' "$root/usr/etc/apptainer/apptainer.conf"

# In a container or a small virtual machine root may lack rights that a build insists on; in a user namespace it has them all.
cat > bin/apptainer <<END
#!/bin/sh
[ "\$1" = build ] && [ "\$(id -u)" = 0 ] && exec unshare --map-root-user --mount "$root/usr/bin/apptainer" "\$@"
exec "$root/usr/bin/apptainer" "\$@"
END
chmod +x bin/apptainer
bin/apptainer --version
