# shellcheck shell=bash
# Sourced by the examples that are written in TypeScript, behind server.sh. Defines build_typescript, which sets app and
# pgflow.
# shellcheck disable=SC2154,SC2034  # root and here are the example's, app and pgflow are for it

# Compiles the client and the example in folder $here, in a copy beside the server's data, since nothing is written into
# the checkout. The copy is app, its compiled files are in app/dist; pgflow is the client's command line, what npx pgflow
# runs. Call it when the server runs.
build_typescript() {
	step "compiling the TypeScript client and the example"
	local client=$root/clients/typescript copy=$PGFLOW_CLUSTER/typescript packages
	packages=$("$root/scripts/typescript-packages")
	# As npm install would lay it out: packages above, the client by its name.
	app=$copy/$(basename "$here") pgflow=$copy/client/dist/cli/main.js
	mkdir -p "$copy/client" "$app/node_modules/@pgflow-native" "$app/node_modules/.bin"
	ln -s "$packages/node_modules" "$copy/node_modules"
	cp -R "$client"/src "$client"/package.json "$client"/tsconfig.json "$copy/client/"
	ln -s ../../../client "$app/node_modules/@pgflow-native/client"
	ln -s ../@pgflow-native/client/dist/cli/main.js "$app/node_modules/.bin/pgflow"
	(cd "$here" && tar -cf - --exclude=node_modules --exclude=dist .) | tar -xf - -C "$app"
	"$copy/node_modules/.bin/tsc" -p "$copy/client"
	chmod +x "$pgflow"
	"$copy/node_modules/.bin/tsc" -p "$app"
}
