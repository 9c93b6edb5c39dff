#!/bin/sh
# Installs and starts what Sandglass needs to run and to be tested. Does only what is missing and prints one line per step;
# prints nothing if nothing is missing. If it cannot do a step, it explains what to do and fails.
#
#   config/setup.sh docker   a container engine that answers
#   config/setup.sh engine   programs with which tests start a second engine, to restart and kill it
#   config/setup.sh image    the image of the template `base`, also without a registry
#   config/setup.sh debian   a Debian image with bash and Python that tests work in, from the distribution's packages
#   config/setup.sh registry the program docker-registry; tests start their own
#   config/setup.sh redis    the program redis-server; tests start their own
#   config/setup.sh browser  Chromium, its driver and curl, for tests of the pages
#   config/setup.sh nginx    the program nginx; tests start their own
#   config/setup.sh valgrind the program valgrind, which counts the instructions of a ping
#   config/setup.sh openapi  a fuzzer and a client generator for tests of the specification, below the build folder
#   config/setup.sh nftables the program nft, which shows tests what the firewall has become
#   config/setup.sh cells    the programs bash, python3 and node, in which tests run cells of code
#   config/setup.sh e2b      the SDKs of E2B in several versions, below the build folder, and an image for their sandboxes
#   config/setup.sh rust     checks for the build tools, installs nothing
#   config/setup.sh all      all of these
set -eu

IMAGE=busybox
TAG=stable
# Seconds for an engine to start, for the pull of the small image, and for one call.
START_BOUND=60
PULL_BOUND=60
CALL_BOUND=10

DEFAULT_HOST=unix:///var/run/docker.sock
# The engine that Sandglass will use, from the same variables.
HOST=${SANDGLASS_DOCKER__HOST:-${DOCKER_HOST:-$DEFAULT_HOST}}

say() { printf 'setup: %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [ "$(id -u)" -eq 0 ]; }

# bounded SECONDS COMMAND...: runs it with a timeout, if the program `timeout` is there.
bounded() {
    seconds=$1
    shift
    if have timeout; then timeout "$seconds" "$@"; else "$@"; fi
}

# --- packages --------------------------------------------------------------------------------------------------------

APT_FRESH=

apt_refresh() {
    [ -z "$APT_FRESH" ] || return 0
    say "refreshing the list of packages"
    apt-get update -qq >/dev/null || fail "apt-get update failed: is there a network?"
    APT_FRESH=yes
}

can_install() { have apt-get && is_root; }

apt_install() {
    apt_refresh
    say "installing $*"
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null ||
        fail "apt-get install $* failed"
}

# --- the engine ------------------------------------------------------------------------------------------------------

# api SECONDS METHOD PATH [CURL-OPTION...]: calls the engine's API without its client.
api() {
    seconds=$1 method=$2 path=$3
    shift 3
    case $HOST in
    unix://*) set -- --unix-socket "${HOST#unix://}" "$@" "http://localhost$path" ;;
    tcp://*) set -- "$@" "http://${HOST#tcp://}$path" ;;
    *) set -- "$@" "$HOST$path" ;;
    esac
    curl --silent --fail --output /dev/null --max-time "$seconds" --request "$method" "$@"
}

engine_answers() {
    if have docker; then
        # Unlike `info`, this fails without an engine in every version of the client.
        bounded "$CALL_BOUND" docker -H "$HOST" version --format '{{.Server.Version}}' >/dev/null 2>&1
    elif have curl; then
        api "$CALL_BOUND" GET /_ping 2>/dev/null
    else
        return 1
    fi
}

# wait_for_engine [PID]: waits until it answers, or until the process PID is gone.
wait_for_engine() {
    waited=0
    until engine_answers; do
        [ "$waited" -lt "$START_BOUND" ] || return 1
        [ -z "${1:-}" ] || kill -0 "$1" 2>/dev/null || return 1
        sleep 1
        waited=$((waited + 1))
    done
}

setup_docker() {
    if engine_answers; then return 0; fi
    have docker || have curl || can_install || fail "neither docker nor curl is here to ask an engine with: install one"
    explain_unreachable
    if ! have dockerd; then
        can_install || fail "no container engine answers at $HOST." \
            "Install one and start it: docker.io on Debian and Ubuntu (this script does that as root), or see" \
            "https://docs.docker.com/engine/install/ - or set DOCKER_HOST to one that runs."
        install_docker
        # The package may have started it.
        if engine_answers; then return 0; fi
    fi
    is_root || fail "docker is installed, but does not run: start it with 'sudo systemctl start docker'."
    start_docker
}

# Fails with an explanation if starting an engine here would not help.
explain_unreachable() {
    case $HOST in
    unix://*) ;;
    *) fail "no container engine answers at $HOST, which DOCKER_HOST names: start it there, or unset DOCKER_HOST." ;;
    esac
    socket=${HOST#unix://}
    if [ -S "$socket" ] && ! [ -w "$socket" ]; then
        fail "you may not use $socket: run 'sudo usermod -aG docker $(id -un)' and log in again."
    fi
    # A client's context may name an engine elsewhere; Sandglass does not read contexts.
    if have docker && [ "$HOST" = "$DEFAULT_HOST" ] && [ -z "${DOCKER_HOST:-}" ]; then
        elsewhere=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null || true)
        if [ -n "$elsewhere" ] && [ "$elsewhere" != "$HOST" ] &&
            bounded "$CALL_BOUND" docker -H "$elsewhere" version --format '{{.Server.Version}}' >/dev/null 2>&1; then
            fail "your engine answers at $elsewhere: run 'export DOCKER_HOST=$elsewhere' and try again."
        fi
    fi
}

install_docker() {
    apt_refresh
    # Newer distributions have a separate package for the client.
    if ! have docker && apt-cache show docker-cli >/dev/null 2>&1; then
        apt_install docker.io docker-cli iptables
    else
        apt_install docker.io iptables
    fi
}

start_docker() {
    if have pidof && pidof dockerd >/dev/null 2>&1; then
        say "dockerd runs already; waiting for it to answer at $HOST"
        if wait_for_engine; then return 0; fi
        fail "dockerd runs, but does not answer at $HOST within $START_BOUND s: see its log."
    fi
    if [ -d /run/systemd/system ] && [ "$HOST" = "$DEFAULT_HOST" ]; then
        say "starting docker with systemctl"
        if systemctl start docker && wait_for_engine; then return 0; fi
        fail "docker does not start: see 'systemctl status docker' and 'journalctl -u docker'."
    fi
    # Without systemd, as in most containers, where a policy-rc.d may also forbid init scripts to start it.
    start_dockerd
}

start_dockerd() {
    log=/var/log/dockerd.log
    [ -w /var/log ] || log=${TMPDIR:-/tmp}/dockerd.log
    say "starting dockerd in the background; its log is $log"
    # In its own session, so that a Ctrl-C in `make run` does not end it.
    $(command -v setsid || true) nohup dockerd -H "$HOST" >>"$log" 2>&1 </dev/null &
    if wait_for_engine $!; then return 0; fi
    # A daemon that does not answer would only block the next attempt.
    kill "$!" 2>/dev/null || true
    fail "dockerd does not answer at $HOST. The end of $log:" "$(tail -n 5 "$log")"
}

# --- the image -------------------------------------------------------------------------------------------------------

has_image() {
    if have docker; then
        bounded "$CALL_BOUND" docker -H "$HOST" image inspect "$IMAGE:$TAG" >/dev/null 2>&1
    else
        api "$CALL_BOUND" GET "/images/$IMAGE:$TAG/json"
    fi
}

pull_image() {
    if have docker; then
        bounded "$PULL_BOUND" docker -H "$HOST" pull --quiet "$IMAGE:$TAG" >/dev/null 2>&1
    else
        # The status is 200 even if the pull fails later.
        api "$PULL_BOUND" POST "/images/create?fromImage=$IMAGE&tag=$TAG" && has_image
    fi
}

# import_image [CHANGE...]: imports the tar archive of a root directory from standard input, with these instructions of a
# Dockerfile.
import_image() {
    set -- 'CMD ["sleep","infinity"]' 'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' "$@"
    if have docker; then
        for instruction in "$@"; do
            shift
            set -- "$@" --change "$instruction"
        done
        docker -H "$HOST" import "$@" - "$IMAGE:$TAG" >/dev/null
    else
        query="fromSrc=-&repo=$IMAGE&tag=$TAG"
        for instruction in "$@"; do query="$query&$(change "$instruction")"; done
        api "$PULL_BOUND" POST "/images/create?$query" --header 'Content-Type: application/x-tar' --upload-file -
    fi
}

# Encodes a change to an image as a URL parameter.
change() { printf 'changes=%s' "$1" | sed 's/ /%20/g; s/\[/%5B/g; s/\]/%5D/g; s/"/%22/g; s/,/%2C/g'; }

setup_image() {
    engine_answers || fail "no container engine answers at $HOST: run 'config/setup.sh docker' first."
    if has_image; then return 0; fi
    say "pulling $IMAGE:$TAG"
    if pull_image; then return 0; fi
    say "no registry can be reached; making $IMAGE:$TAG from the busybox of this distribution"
    WORK=$(mktemp -d)
    trap 'rm -rf "$WORK"' EXIT
    find_busybox
    build_root "$WORK/root"
    tar -C "$WORK/root" --owner=0 --group=0 --numeric-owner -cf - . | import_image
    has_image || fail "the engine did not take the image"
}

is_static() { [ -x "$1" ] && have ldd && ldd "$1" 2>&1 | grep -Eq 'not a dynamic|statically linked'; }

# Sets BUSYBOX to a static one. The package is only unpacked: installing it would replace the busybox that the system boots
# with.
find_busybox() {
    BUSYBOX=$(command -v busybox || true)
    if [ -n "$BUSYBOX" ] && is_static "$BUSYBOX"; then return 0; fi
    have apt-get || fail "pull $IMAGE:$TAG where there is a registry, and bring it here with 'docker save' and 'docker load'."
    if ! fetch_busybox; then
        if is_root; then apt_refresh; fi
        fetch_busybox || fail "the package busybox-static cannot be fetched: is there a network?"
    fi
    BUSYBOX=$(find "$WORK/package" -type f -path '*/bin/busybox')
    [ -n "$BUSYBOX" ] || fail "the package busybox-static holds no busybox"
}

fetch_busybox() {
    (cd "$WORK" && apt-get download -qq busybox-static && dpkg-deb -x busybox-static_*.deb package) >/dev/null 2>&1
}

# build_root DIRECTORY: makes the files of a small image from busybox.
build_root() {
    for directory in bin dev etc home proc root sys tmp usr/bin usr/sbin sbin var/tmp; do
        mkdir -p "$1/$directory"
    done
    chmod 1777 "$1/tmp" "$1/var/tmp"
    chmod 700 "$1/root"
    cp "$BUSYBOX" "$1/bin/busybox"
    chmod 755 "$1" "$1/bin/busybox"
    "$BUSYBOX" --list | while read -r applet; do
        [ -e "$1/bin/$applet" ] || ln -s busybox "$1/bin/$applet"
    done
    # Scripts expect it here.
    ln -s ../../bin/busybox "$1/usr/bin/env"
    printf '%s\n' 'root:x:0:0:root:/root:/bin/sh' 'nobody:x:65534:65534:nobody:/home:/bin/false' >"$1/etc/passwd"
    printf '%s\n' 'root:x:0:' 'nogroup:x:65534:' >"$1/etc/group"
}

# --- the image of Debian ---------------------------------------------------------------------------------------------

setup_debian() {
    IMAGE=sandglass-test/debian
    build_debian bash,python3-minimal true
}

# build_debian PACKAGES SCRIPT [CHANGE...]: makes $IMAGE:$TAG of Debian, unless it is there, with these packages and with what
# the script does to the root directory, its first argument.
build_debian() {
    packages=$1 script=$2
    shift 2
    engine_answers || fail "no container engine answers at $HOST: run 'config/setup.sh docker' first."
    if has_image; then return 0; fi
    if ! have mmdebstrap; then
        can_install || fail "the image $IMAGE:$TAG is missing: make it with mmdebstrap, or tag a Debian with $packages so."
        apt_install mmdebstrap
    fi
    say "making $IMAGE:$TAG with mmdebstrap, for one to four minutes"
    WORK=$(mktemp -d)
    trap 'rm -rf "$WORK"' EXIT
    codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-stable}")
    mmdebstrap --quiet --variant=essential --aptopt='APT::Install-Recommends "false"' --include="$packages" \
        --customize-hook="$script" \
        "$codename" "$WORK/root.tar" 2>"$WORK/log" ||
        fail "mmdebstrap failed; the end of what it said:" "$(tail -n 5 "$WORK/log")"
    import_image "$@" <"$WORK/root.tar"
    has_image || fail "the engine did not take the image"
}

# --- the rest --------------------------------------------------------------------------------------------------------

# The engine that answers may be remote; this one is started here, in its own namespaces.
setup_engine() {
    if ! have dockerd; then
        can_install || fail "dockerd is missing: install it (docker.io on Debian and Ubuntu)."
        install_docker
    fi
    if ! have ip; then
        can_install || fail "the program ip is missing: install it (iproute2 on Debian and Ubuntu)."
        apt_install iproute2
    fi
    have unshare && have nsenter || fail "unshare and nsenter are missing: install util-linux."
}

setup_redis() {
    if have redis-server; then return 0; fi
    can_install || fail "redis-server is missing: install it (redis-server on Debian and Ubuntu, redis elsewhere)."
    apt_install redis-server
}

setup_registry() {
    if have docker-registry; then return 0; fi
    can_install || fail "docker-registry is missing: install it (docker-registry on Debian and Ubuntu)," \
        "or put the program 'registry' of https://github.com/distribution/distribution on the PATH under that name."
    apt_install docker-registry
}

setup_nginx() {
    # It may be missing from a user's PATH.
    if have nginx || [ -x /usr/sbin/nginx ]; then return 0; fi
    can_install || fail "nginx is missing: install it (nginx-light on Debian and Ubuntu, nginx elsewhere); it need not run."
    apt_install nginx-light
}

setup_valgrind() {
    if have valgrind; then return 0; fi
    can_install || fail "valgrind is missing: install it (valgrind on Debian and Ubuntu, and nearly everywhere else)."
    # valgrind needs the C library's symbols.
    apt_install valgrind libc6-dbg
}

setup_nftables() {
    # It may be missing from a user's PATH.
    if have nft || [ -x /usr/sbin/nft ]; then return 0; fi
    can_install || fail "nft is missing: install it (nftables on Debian and Ubuntu, and nearly everywhere else)."
    apt_install nftables
}

setup_cells() {
    if have bash && have python3 && have node; then return 0; fi
    can_install || fail "bash, python3 or node is missing: install them (nodejs on Debian and Ubuntu; node 16 or later)."
    apt_install bash python3 nodejs
}

setup_browser() {
    # A test uses it to try the call that the page shows.
    if ! have curl; then
        can_install || fail "curl is missing: install it."
        apt_install curl
    fi
    if have chromedriver && have_chromium; then return 0; fi
    can_install || fail "a Chromium with its driver is missing: install both in the same version (chromium and chromium-driver" \
        "on Debian, chromium-chromedriver on Alpine, chromedriver beside Chrome elsewhere); 'chromedriver' has to be in PATH."
    apt_refresh
    # Ubuntu has other names for them.
    if apt-cache show chromium-driver >/dev/null 2>&1; then
        apt_install chromium chromium-driver
    else
        apt_install chromium-browser chromium-chromedriver
    fi
    have chromedriver && have_chromium || fail "the packages have brought no chromedriver: install Chrome and its chromedriver" \
        "by hand, see https://googlechromelabs.github.io/chrome-for-testing"
}

have_chromium() { have chromium || have chromium-browser || have google-chrome; }

# Checks for a python3 that can make virtual environments.
need_python() {
    have python3 || { can_install && apt_install python3 python3-venv; } ||
        fail "python3 is missing: install it, 3.10 or later, with its module venv."
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "python3 is too old: 3.10 or later is needed."
    # Debian's python3 has the module venv without its dependencies.
    if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        can_install || fail "python3 cannot make virtual environments: install python3-venv, as Debian and Ubuntu call it."
        apt_install python3-venv
    fi
}

# The programs that read the specification, with pinned versions so that they judge the same on every machine. They are
# installed below the build folder, again whenever the list changes.
PROJECT=$(dirname "$0")/..
WANTED=$PROJECT/config/openapi-tools.txt
TOOLS=${CARGO_TARGET_DIR:-$PROJECT/target}/openapi

setup_openapi() {
    if cmp -s "$WANTED" "$TOOLS/installed.txt" && "$TOOLS/bin/python" -c '' 2>/dev/null; then return 0; fi
    need_python
    say "installing the fuzzer and the generator of clients into $TOOLS"
    rm -rf "$TOOLS"
    mkdir -p "$TOOLS"
    python3 -m venv "$TOOLS" || fail "python3 cannot make a virtual environment in $TOOLS"
    "$TOOLS/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$WANTED" ||
        fail "pip could not install what config/openapi-tools.txt lists: is there a network?"
    cp "$WANTED" "$TOOLS/installed.txt"
}

# The SDKs that speak E2B's protocol, with pinned versions, each list in an environment of its own, and an image that has what
# they expect. They are installed again whenever a list changes.
LISTS=$PROJECT/config/e2b
SDKS=$(cd "$PROJECT" && pwd)/target/e2b
[ -z "${CARGO_TARGET_DIR:-}" ] || SDKS=$CARGO_TARGET_DIR/e2b

setup_e2b() {
    need_python
    install_python python
    install_python python-older
    install_python crewai --no-deps
    install_javascript
    (setup_e2b_image)
}

setup_e2b_image() {
    IMAGE=sandglass-test/e2b
    # Debian's matplotlib brings a compiler along, so this takes the one that pip finds for the Python of the image.
    script="pip='$SDKS/python/bin/python -m pip'"'
        set -e
        python=$(find "$1/usr/bin" -name "python3.[0-9]*" -printf "%f\n" | head -n 1)
        $pip install --quiet --disable-pip-version-check --no-compile --only-binary=:all: \
            --python-version="${python#python}" --target="$1/usr/local/lib/$python/dist-packages" matplotlib pandas
        chroot "$1" useradd --create-home --shell /bin/bash --uid 1000 user
        echo "user ALL=(ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/user"
        chmod 755 "$1/root"'
    packages=attr,bash,ca-certificates,curl,git,node-typescript,nodejs,passwd,procps,python-is-python3,python3,python3-pip,sudo
    build_debian "$packages" "$script" 'USER user' 'WORKDIR /home/user'
}

# install_python NAME [FLAG...]: makes an environment of what config/e2b/NAME.txt lists.
install_python() {
    name=$1
    shift
    if cmp -s "$LISTS/$name.txt" "$SDKS/$name/installed.txt" && "$SDKS/$name/bin/python" -c '' 2>/dev/null; then return 0; fi
    say "installing what config/e2b/$name.txt lists into $SDKS/$name"
    rm -rf "${SDKS:?}/$name"
    mkdir -p "$SDKS"
    python3 -m venv "$SDKS/$name" || fail "python3 cannot make a virtual environment in $SDKS/$name"
    "$SDKS/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@" --requirement "$LISTS/$name.txt" ||
        fail "pip could not install what config/e2b/$name.txt lists: is there a network?"
    cp "$LISTS/$name.txt" "$SDKS/$name/installed.txt"
}

install_javascript() {
    if cmp -s "$LISTS/package.json" "$SDKS/javascript/installed.json" && [ -d "$SDKS/javascript/node_modules/e2b" ]; then
        return 0
    fi
    say "installing what config/e2b/package.json lists into $SDKS/javascript"
    rm -rf "$SDKS/javascript"
    mkdir -p "$SDKS/javascript"
    cp "$LISTS/package.json" "$SDKS/javascript/package.json"
    if recent_node && have npm; then
        ln -s "$(command -v node)" "$SDKS/javascript/node"
    else
        # The distribution's may be too old for them.
        install_python node
        ln -s ../node/bin/node "$SDKS/javascript/node"
        PATH=$(cd "$SDKS/node/bin" && pwd):$PATH
    fi
    npm install --prefix "$SDKS/javascript" --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null ||
        fail "npm could not install what config/e2b/package.json lists: is there a network?"
    cp "$LISTS/package.json" "$SDKS/javascript/installed.json"
}

recent_node() {
    have node && node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 19) ? 0 : 1)'
}

setup_rust() {
    have cargo || fail "cargo is missing: install Rust with rustup, see https://rustup.rs"
    have cc || fail "a C compiler is missing, which Rust links with: install gcc and the C library's headers"
}

usage() { fail "usage: config/setup.sh docker|engine|image|debian|registry|redis|browser|nginx|valgrind|nftables|cells|openapi|e2b|rust|all ..."; }

[ $# -gt 0 ] || usage
for wanted in "$@"; do
    case $wanted in
    docker) setup_docker ;;
    engine) setup_engine ;;
    image) setup_image ;;
    debian) (setup_debian) ;;
    registry) setup_registry ;;
    redis) setup_redis ;;
    browser) setup_browser ;;
    rust) setup_rust ;;
    nginx) setup_nginx ;;
    valgrind) setup_valgrind ;;
    nftables) setup_nftables ;;
    cells) setup_cells ;;
    openapi) setup_openapi ;;
    e2b) setup_e2b ;;
    all)
        setup_rust
        setup_docker
        setup_engine
        setup_image
        (setup_debian)
        setup_registry
        setup_redis
        setup_nginx
        setup_valgrind
        setup_nftables
        setup_cells
        setup_browser
        setup_openapi
        setup_e2b
        ;;
    *) usage ;;
    esac
done
