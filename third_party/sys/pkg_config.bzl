"""Debian's libraries as Bazel targets, one `@sys//:name` each, by pkg-config."""

def _pkg_config(rctx, *args):
    r = rctx.execute(["pkg-config"] + list(args))
    if r.return_code != 0:
        fail("pkg-config %s: %s" % (" ".join(args), r.stderr))
    return [w for w in r.stdout.strip().split(" ") if w]

def _library(rctx, name, modules, static):
    cflags = _pkg_config(rctx, "--cflags", *modules)
    bad = [f for f in cflags if not f.startswith("-D") and f not in ["-pthread", "-I/usr/include"]]
    if bad:
        fail("%s: headers outside /usr/include: %s" % (name, bad))
    libs = _pkg_config(rctx, "--libs", *((["--static"] if static else []) + modules))
    return "cc_library(name = %r, defines = %r, linkopts = %r)" % (
        name,
        [f[2:] for f in cflags if f.startswith("-D")],
        # glog's libunwind.a would also stand in for the compiler's own unwinder, and cannot be
        # linked into a position-independent program: see third_party/glog. A shared libglog brings
        # the shared one itself.
        [f for f in libs if f != "-lunwind"],
    )

def _impl(rctx):
    out = ['package(default_visibility = ["//visibility:public"])']
    for name, modules in rctx.attr.packages.items():
        out.append(_library(rctx, name, modules, static = True))
    for name, modules in rctx.attr.dynamic_packages.items():
        out.append(_library(rctx, name, modules, static = False))
    for name, linkopts in rctx.attr.bare.items():
        out.append("cc_library(name = %r, linkopts = %r)" % (name, linkopts))
    rctx.file("BUILD.bazel", "\n".join(out) + "\n")

pkg_config_repository = repository_rule(
    implementation = _impl,
    attrs = {
        "bare": attr.string_list_dict(doc = "target -> link options, where no .pc file exists"),
        "dynamic_packages": attr.string_list_dict(doc = "target -> pkg-config modules, shared only"),
        "packages": attr.string_list_dict(doc = "target -> pkg-config modules, with static closure"),
    },
    local = True,
)
