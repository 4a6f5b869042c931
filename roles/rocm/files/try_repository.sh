# Reads a signed apt repository in a directory of its own, and leaves nothing behind.
#   $1 address of the key   $2 source file, in which @KEY@ stands for the place of the key
# stdout: the key. Exit: 0 apt accepts the repository, 10 no key, 20 apt does not accept it.
set -u
export LC_ALL=C
place=$(mktemp -d --tmpdir stroke-rocm-XXXXXX)
trap 'rm -rf "$place"' EXIT
mkdir -p "$place/parts" "$place/lists/partial" "$place/cache/archives/partial"
options="-oAcquire::http::Timeout=30 -oAcquire::https::Timeout=30 -oAcquire::Retries=1"
options="$options -oAPT::Sandbox::User=root"
/usr/lib/apt/apt-helper $options download-file "$1" "$place/key.asc" >"$place/log" 2>&1 || {
	cat "$place/log" >&2
	exit 10
}
cat "$place/key.asc"
printf '%s\n' "$2" | sed "s,@KEY@,$place/key.asc," >"$place/parts/trial.sources"
apt-get $options update \
	-oDir::Etc::SourceList=/dev/null -oDir::Etc::SourceParts="$place/parts" \
	-oDir::State::Lists="$place/lists" -oDir::Cache="$place/cache" \
	-oAPT::Update::Error-Mode=any >"$place/log" 2>&1 || {
	grep -E '^(E|W|Err)' "$place/log" >&2
	exit 20
}
