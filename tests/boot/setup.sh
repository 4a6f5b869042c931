# Turns a test container into a host with two kernels and a boot loader that is played. $1, $2: the
# older and the newer kernel. Runs inside the container only.
set -eu
test -e /run/.containerenv
umount /proc/cmdline /proc/sys/kernel/osrelease
ip -4 route show default | awk '{ print $3; exit }' >/srv/fake/gateway
mkdir -p "/lib/modules/$1" /srv/firmware
for release in "$1" "$2"; do
    for name in vmlinuz initrd.img; do
        printf '%s' "$release" >"/boot/$name-$release"
        truncate -s 8M "/boot/$name-$release"
    done
    touch "/lib/modules/$release/modules.dep"
done
printf 'GRUB_DEFAULT=0\nGRUB_CMDLINE_LINUX_DEFAULT="quiet"\nGRUB_CMDLINE_LINUX="audit=0"\n' \
    >/etc/default/grub
cat >/usr/sbin/grub-probe <<'EOF'
#!/bin/sh
case "$1" in
--target=abstraction) cat /srv/fake/abstraction 2>/dev/null || echo ;;
--target=fs) echo ext2 ;;
--target=fs_uuid) echo 1234-abcd ;;
esac
EOF
cat >/usr/local/sbin/update-grub <<'EOF'
#!/bin/sh
. /etc/default/grub
for file in /etc/default/grub.d/*.cfg; do [ ! -e "$file" ] || . "$file"; done
release=$(ls /boot/vmlinuz-* | sort -V | tail -1 | sed 's,.*/vmlinuz-,,')
cat >/boot/grub/grub.cfg <<END
if [ "\${next_entry}" ] ; then
   set default="\${next_entry}"
else
   set default="0"
fi
menuentry 'Debian GNU/Linux' --class debian {
	linux	/boot/vmlinuz-$release root=/dev/sda1 ro $GRUB_CMDLINE_LINUX $GRUB_CMDLINE_LINUX_DEFAULT
	initrd	/boot/initrd.img-$release
}
source \$prefix/custom.cfg
END
EOF
chmod 0755 /usr/sbin/grub-probe /usr/local/sbin/update-grub
cat >/etc/systemd/system/firmware.service <<'EOF'
[Unit]
DefaultDependencies=no
Before=sysinit.target ssh.service
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/python3 -B /srv/firmware/firmware.py
EOF
mkdir -p /etc/systemd/system/sysinit.target.wants
ln -s ../firmware.service /etc/systemd/system/sysinit.target.wants/
# The newer kernel arrives after the first boot.
mkdir /srv/later
mv /boot/*-"$2" /srv/later
update-grub
mv /srv/later/* /boot
