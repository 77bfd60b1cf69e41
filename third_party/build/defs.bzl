"""Thin wrappers round the C++ rules: the same warnings, hardening and link mode for every target."""

HULL_COPTS = [
    "-Wall",
    "-Wextra",
    "-Werror",
    "-fstack-protector-strong",
    "-fcf-protection=full",
    "-ffunction-sections",
    "-fdata-sections",
]

# _FORTIFY_SOURCE hides accesses from AddressSanitizer, and a sanitized binary cannot be static.
_FORTIFY = select({
    "//third_party/build:asan": [],
    "//third_party/build:fuzz": [],
    "//conditions:default": [
        "-U_FORTIFY_SOURCE",
        "-D_FORTIFY_SOURCE=3",
    ],
})

_HARDENED_LINK = [
    # Bazel's C++ toolchain asks for gold, which does not know static-pie.
    "-fuse-ld=bfd",
    "-Wl,--as-needed",
    "-Wl,--gc-sections",
    "-Wl,-z,relro,-z,now,-z,noexecstack",
    # A bit, instead of 24 bytes, for each of the some thousand pointers that a start relocates.
    "-Wl,-z,pack-relative-relocs",
]

_STATIC_LINK = select({
    "//third_party/build:asan": [],
    "//third_party/build:fuzz": [],
    "//conditions:default": ["-static-pie"],
})

_STATIC_DEPS = select({
    "//third_party/build:asan": [],
    "//third_party/build:fuzz": [],
    "//conditions:default": ["//third_party/glog:static_unwind"],
})

def hull_cc_library(copts = [], **kwargs):
    native.cc_library(
        copts = HULL_COPTS + _FORTIFY + copts,
        linkstatic = True,
        **kwargs
    )

def hull_cc_binary(
        static = True,
        copts = [],
        linkopts = [],
        deps = [],
        features = [],
        text_order = None,
        **kwargs):
    """A program of the product: position-independent and, unless static = False, fully static.

    Static because the dynamic linker alone costs more instructions than the rest of the start
    (see the README's figures), and because the jail then needs no libraries in its root.

    `text_order` is a linker script of order-text's: which functions lie together.
    """
    if text_order:
        kwargs["additional_linker_inputs"] = [text_order]
        linkopts = linkopts + select({
            "//third_party/build:asan": [],
            "//third_party/build:fuzz": [],
            "//conditions:default": ["-Wl,-T,$(location %s)" % text_order],
        })
    native.cc_binary(
        copts = HULL_COPTS + _FORTIFY + copts + ["-fPIE"],
        linkopts = _HARDENED_LINK + (_STATIC_LINK if static else ["-pie"]) + linkopts,
        deps = deps + (_STATIC_DEPS if static else []),
        linkstatic = True,
        **kwargs
    )

def hull_cc_test(copts = [], linkopts = [], deps = [], size = "small", **kwargs):
    native.cc_test(
        copts = HULL_COPTS + _FORTIFY + copts,
        linkopts = ["-Wl,--as-needed"] + linkopts,
        deps = deps + ["@sys//:gtest_main"],
        linkstatic = True,
        size = size,
        **kwargs
    )

def hull_cc_fuzz_test(name, srcs, corpus, deps = [], **kwargs):
    """A libFuzzer target and a test that replays its corpus.

    `name` is the replay test; `name_fuzzer` is built by hand with --config=fuzz.

    Args:
      name: ends in _fuzz by convention.
      srcs: defines LLVMFuzzerTestOneInput.
      corpus: label list, usually glob(["corpus/foo/*"]).
      deps: the code under test.
      **kwargs: passed to both rules.
    """
    native.cc_test(
        name = name,
        srcs = srcs,
        args = ["$(locations %s)" % c for c in [":" + name + "_corpus"]],
        copts = HULL_COPTS + _FORTIFY,
        data = [":" + name + "_corpus"],
        linkopts = ["-Wl,--as-needed"],
        linkstatic = True,
        size = "small",
        deps = deps + ["//third_party/build:fuzz_replay_main"],
        **kwargs
    )
    native.filegroup(
        name = name + "_corpus",
        testonly = True,
        srcs = corpus,
    )
    native.cc_binary(
        name = name + "_fuzzer",
        testonly = True,
        srcs = srcs,
        copts = HULL_COPTS,
        linkopts = ["-fsanitize=fuzzer"],
        tags = ["manual"],
        deps = deps,
        **kwargs
    )
