#!/bin/sh
# Makes a minimal Debian in a folder, clones this tree into it and runs README's two commands there, as a
# newcomer would. Needs root, because it mounts and changes root. CONTRIBUTING.md says what it takes.
#
# tools/fresh.sh "RELEASE..." "USER..."; releases are bookworm (12) and trixie (13), users root and dev,
# which is an ordinary user with sudo. What is printed goes to .cache/fresh/RELEASE-USER.log as well.
set -eu
releases=${1:-bookworm trixie}
users=${2:-root dev}
root=$(cd "$(dirname "$0")/.." && pwd)
logs=$root/.cache/fresh
started=$(date +%s)
dir=

say() { echo "vireo: fresh: $(($(date +%s) - started)) s: $*"; }

# Ends what still runs with the folder as its root: the programs that an interrupted command started.
end_programs() {
  for tries in 1 2 3 4 5; do
    found=
    for process in /proc/[0-9]*; do
      [ "$(readlink "$process/root" 2>/dev/null)" = "$dir" ] || continue
      found=yes
      kill -KILL "${process#/proc/}" 2>/dev/null || true
    done
    [ -n "$found" ] || return 0
    sleep 0.2
  done
}

# Programs go before mounts, and those before files: what is mounted is the host's.
clean_up() {
  [ -n "$dir" ] || return 0
  end_programs
  for mount in dev sys proc; do
    ! mountpoint -q "$dir/$mount" || umount -R -l "$dir/$mount"
  done
  rm -rf --one-file-system "$dir"
  dir=
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

[ "$(id -u)" = 0 ] || { echo "vireo: Cannot change root: run it as root, for example by sudo" >&2; exit 1; }
sh "$root/tools/require.sh" debootstrap debootstrap git git

# Runs a command line in the folder as a user, with nothing of this machine's environment but that it has
# certificates of its own, which Deno asks for by this name.
# Its variables are its own: a shell function's are the script's otherwise.
inside() (
  as=$1
  shift
  at=/root
  [ "$as" = root ] || at=/home/$as
  env -i LANG=C.UTF-8 TERM=dumb PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    ${NODE_EXTRA_CA_CERTS:+NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt} \
    HOME="$at" USER="$as" setpriv --pdeathsig KILL -- chroot --userspec="$as" --groups= "$dir" \
    sh -c "cd $at && $*" </dev/null
)

make_debian() {
  release=$1
  dir=$(mktemp -d /var/tmp/vireo-fresh.XXXXXX)
  chmod 755 "$dir"
  say "$release: making a minimal Debian in $dir"
  debootstrap --variant=minbase "$release" "$dir" >"$logs/$release-debootstrap.log"
  for mount in proc sys dev; do
    mount --rbind "/$mount" "$dir/$mount"
    mount --make-rslave "$dir/$mount"
  done
  # How this machine reaches the network: names, and certificates that it trusts.
  for file in /etc/resolv.conf /etc/npmrc; do
    [ ! -e "$file" ] || cp -L "$file" "$dir$file"
  done
  say "$release: installing git, nodejs, npm and make"
  packages="git nodejs npm make ca-certificates sudo"
  inside root "export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && apt-get install -y -qq $packages" \
    >"$logs/$release-packages.log" 2>&1
  cp -L /etc/ssl/certs/ca-certificates.crt "$dir/etc/ssl/certs/"
  inside root "useradd --create-home --shell /bin/sh dev"
  echo "dev ALL=(ALL) NOPASSWD: ALL" >"$dir/etc/sudoers.d/dev"
}

# One of README's commands; the end of what it prints says how it went.
run() {
  release=$1 user=$2 command=$3
  say "$release, $user: $command"
  from=$(date +%s)
  code=0
  # A shell takes no signal while it waits for a program in the foreground.
  inside "$user" "cd vireo && $command" >>"$logs/$release-$user.log" 2>&1 &
  wait $! || code=$?
  took=$(($(date +%s) - from))
  if [ $code != 0 ]; then
    tail -n 40 "$logs/$release-$user.log"
    say "$release, $user: $command FAILED with exit code $code after $took s"
    exit 1
  fi
  # Of the tests the line that counts them, which is not the last one.
  outcome=$(grep -E '^[0-9]+ passed, ' "$logs/$release-$user.log" | tail -n 1)
  [ -n "$outcome" ] || outcome=$(tail -n 1 "$logs/$release-$user.log")
  say "$release, $user: $command passed in $took s: $outcome"
}

mkdir -p "$logs"
for release in $releases; do
  make_debian "$release"
  for user in $users; do
    home=/root
    [ "$user" = root ] || home=/home/$user
    : >"$logs/$release-$user.log"
    git -c safe.directory='*' clone -q --no-local "$root" "$dir$home/vireo"
    inside root "chown -R $user: $home/vireo"
    run "$release" "$user" "make demo"
    run "$release" "$user" "make test"
    rm -rf "$dir$home/vireo"
  done
  clean_up
done
say "all passed"
