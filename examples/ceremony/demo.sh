#!/bin/sh
# The years of a repository, as its people live through them: a first root by 3 of 5
# holders, one of whom has lost the key; a new holder; the yearly renewal; an emergency;
# backups that are restored. It stops at the first exit status that isn't as expected.
#
#	sh examples/ceremony/demo.sh [FOLDER]
#
# FOLDER keeps all the files; it must not exist. CEREMONY names the program, if it is built
# already. Passphrases are in this script, which makes it a demonstration and no
# ceremony: the runbook is README.md.
set -eu
umask 077
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -gt 0 ]; then
	mkdir "$1" && cd "$1"
else
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	cd "$scratch"
fi
if [ -z "${CEREMONY:-}" ]; then
	CEREMONY=$PWD/ceremony
	(cd "$here" && go build -o "$CEREMONY" .)
fi
mkdir keys

title() { printf '\n======== %s\n' "$*"; }

# expect STATUS ARGUMENTS...: run the program, which must end with that status.
expect() {
	want=$1 status=0
	shift
	printf '\n$ ceremony %s\n' "$*"
	"$CEREMONY" "$@" 2>&1 </dev/null || status=$? # at no terminal, so that it waits at no page
	if [ "$status" -ne "$want" ]; then
		echo "demo.sh: exit status $status instead of $want" >&2
		exit 1
	fi
}

# keygen NAME: on the holder's machine.
keygen() {
	expect 0 keygen -name "$1" -passphrase-fd 3 "keys/$1.key" 3<<-END
		passphrase of $1
	END
}

# sign NAME [FLAGS...]: on the holder's machine, with group 3 from the paper copy.
sign() {
	name=$1
	shift
	rm -f "$name.response.json"
	expect 0 sign -key "keys/$name.key" -passphrase-fd 3 -confirm "$(paper)" \
		-out "$name.response.json" "$@" repo/open/request.json 3<<-END
		passphrase of $name
	END
}

# merge STATUS NAME...: 2 as long as somebody is missing.
merge() {
	want=$1
	shift
	for name; do set -- "$@" "$name.response.json" && shift; done
	expect "$want" merge -dir repo "$@"
}

# print: the record sheet of the open request.
print() {
	rm -f sheet.txt
	expect 0 sheet -dir repo -out sheet.txt
}

paper() { sed -n 's/.* 3\. \([0-9a-f]\{8\}\) .*/\1/p' sheet.txt | head -n 1; }

title "Everybody makes a key, and shows its card"
for name in Ada Bob Cleo Dora Emil web bins; do keygen $name; done
expect 0 verify keys/Ada.key.card.json keys/Emil.key.card.json

title "The first root: 3 of 5"
expect 0 init -dir repo -threshold 3 -bins 16 \
	-holder keys/Ada.key.card.json -holder keys/Bob.key.card.json -holder keys/Cleo.key.card.json \
	-holder keys/Dora.key.card.json -holder keys/Emil.key.card.json \
	-online keys/web.key.card.json -online-bins keys/bins.key.card.json
print
cat sheet.txt

title "Emil's key is lost. The others sign, one after the other"
rm keys/Emil.key
expect 2 status -dir repo
sign Dora
merge 2 Dora
sign Ada
merge 2 Ada Dora Ada # again, in another order: no harm
sed 's/"sig":"\(.\)./"sig":"\100/' Ada.response.json >damaged.response.json
merge 1 damaged
expect 1 sign -key keys/Bob.key -passphrase-fd 3 -confirm 00000000 repo/open/request.json 3<<-END
	passphrase of Bob
END
sign Bob
merge 0 Bob
expect 0 verify -dir repo
expect 0 sheet -done repo/done/root-1-* -html -out record-1.html

title "Backups, and whether they can be restored"
expect 0 backup -dir repo -out everything.age -passphrase-fd 3 3<<-END
	passphrase of the archive
END
expect 0 restore -dir restored -passphrase-fd 3 everything.age 3<<-END
	passphrase of the archive
END
diff -r repo restored
expect 0 backup -dir repo -online -out online.age -passphrase-fd 3 keys/web.key keys/bins.key 3<<-END
	passphrase of the archive
END
expect 1 restore -check -passphrase-fd 3 online.age 3<<-END
	not the passphrase
END
expect 0 restore -dir publisher -passphrase-fd 3 online.age 3<<-END
	passphrase of the archive
END
diff -r repo/documents publisher/documents
expect 1 restore -dir repo -passphrase-fd 3 everything.age 3<<-END
	passphrase of the archive
END

title "Fay in the place of Emil"
keygen Fay
expect 0 request -dir repo -reason "Emil's key is lost" -replace Emil=keys/Fay.key.card.json
print
sign Cleo -trust-root repo/documents/1.root.json -no-notebook # her first signature: none was lost
sign Bob
sign Ada
merge 0 Ada Bob Cleo
expect 0 verify -dir repo

title "A year later: new one-time keys, and new online keys, by two roots in one sitting"
keygen web2
keygen bins2
expect 0 request -dir repo -reason "The yearly renewal" -new-one-time 2 \
	-add-online keys/web2.key.card.json -drop-online web \
	-add-online-bins keys/bins2.key.card.json -drop-online-bins bins
print
sign Fay -trust-root repo/documents/2.root.json -no-notebook
merge 2 Fay
sign Ada
sign Dora
merge 0 Dora Ada
expect 0 verify -dir repo

title "An emergency: Ada's key and the online keys are in wrong hands"
for name in Gus web3 bins3; do keygen $name; done
expect 1 request -dir repo -reason "Too few would be left" -remove Ada -remove Bob -remove Cleo
expect 0 request -dir repo -reason "Break-in of Tuesday" -compromise -replace Ada=keys/Gus.key.card.json \
	-new-one-time 2 -drop-online web2 -add-online keys/web3.key.card.json \
	-drop-online-bins bins2 -add-online-bins keys/bins3.key.card.json
print
sign Bob
sign Cleo
sign Fay
merge 0 Bob Cleo Fay
expect 0 verify -dir repo
expect 0 status -dir repo

title "All is as it should be"
