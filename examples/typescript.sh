# shellcheck shell=bash
# Sourced by the examples that are written in TypeScript, behind server.sh. Defines build_typescript, which sets app and
# pgflow.

# Compiles the client and the example in folder $here, in a copy beside the server's data, since nothing is written into
# the checkout. The copy is app; its compiled files are in app/dist. Call it when the server runs.
build_typescript() {
	step "compiling the TypeScript client and the example"
	"$root/scripts/node"
	local client=$root/clients/typescript installed fresh copy=$PGFLOW_CLUSTER/typescript
	# What a lock file names never changes, so it is installed once.
	installed=$cache/npm/$(sha256sum "$client/package-lock.json" | cut -c 1-16)
	if [ ! -d "$installed" ]; then
		say "installing what clients/typescript/package-lock.json names into $installed"
		mkdir -p "$cache/npm"
		fresh=$(mktemp -d "$cache/npm/new.XXXXXX")
		chmod 755 "$fresh"
		cp "$client"/package.json "$client"/package-lock.json "$client"/.npmrc "$fresh/"
		(cd "$fresh" && npm ci --silent >&2) || { rm -rf "$fresh"; die "npm could not install them"; }
		# Somebody else may have been faster.
		mv -T "$fresh" "$installed" 2>/dev/null || rm -rf "$fresh"
	fi

	# As npm install would lay it out: packages above, the client by its name.
	app=$copy/$(basename "$here") pgflow=$copy/client/dist/cli/main.js
	mkdir -p "$copy/client" "$app/node_modules/@pgflow-native" "$app/node_modules/.bin"
	ln -s "$installed/node_modules" "$copy/node_modules"
	cp -R "$client"/src "$client"/package.json "$client"/tsconfig.json "$copy/client/"
	ln -s ../../../client "$app/node_modules/@pgflow-native/client"
	ln -s ../@pgflow-native/client/dist/cli/main.js "$app/node_modules/.bin/pgflow"
	(cd "$here" && tar -cf - --exclude=node_modules --exclude=dist .) | tar -xf - -C "$app"
	"$copy/node_modules/.bin/tsc" -p "$copy/client"
	chmod +x "$pgflow"
	"$copy/node_modules/.bin/tsc" -p "$app"
}
