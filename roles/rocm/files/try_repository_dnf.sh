# Reads an rpm repository in a directory of its own, and leaves nothing behind.
#   $1 address of the key   $2 repository file, in which @KEY@ stands for the place of the key
#   $3... packages, whose signatures are checked where dnf can download them
# stdout: the key. Exit: 0 dnf accepts the repository, 10 no key, 20 dnf does not accept it.
set -u
export LC_ALL=C
place=$(mktemp -d --tmpdir stroke-rocm-XXXXXX)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place/parts" "$place/cache" "$place/packages" "$place/rpm"
curl --fail --silent --show-error --location --max-time 60 --output "$place/key.asc" "$1" >"$place/log" 2>&1 || {
	cat "$place/log" >&2
	exit 10
}
cat "$place/key.asc"
printf '%s\n' "$2" | sed "s,@KEY@,$place/key.asc," >"$place/parts/trial.repo"
shift 2
dnf="dnf -y --setopt=reposdir=$place/parts --setopt=cachedir=$place/cache --setopt=timeout=30 --setopt=retries=1"
dnf="$dnf --setopt=skip_if_unavailable=False --setopt=logdir=$place"
$dnf makecache >"$place/log" 2>&1 || {
	grep -iE 'error|gpg|signature|key' "$place/log" | tail -n 5 >&2
	exit 20
}
# dnf 4 downloads with a plugin that a small host may lack: then the installation is the first to check.
$dnf download --help >/dev/null 2>&1 || exit 0
$dnf download --destdir "$place/packages" "$@" >"$place/log" 2>&1 || {
	grep -iE 'error|no package|no match' "$place/log" | tail -n 5 >&2
	exit 20
}
rpmkeys --dbpath "$place/rpm" --import "$place/key.asc" &&
	rpmkeys --dbpath "$place/rpm" --checksig --define '_pkgverify_level signature' "$place"/packages/*.rpm >"$place/log" 2>&1 || {
	echo "signature: $(grep -v ': digests signatures OK' "$place/log" | sed "s,$place/packages/,," | head -n 3)" >&2
	exit 20
}
