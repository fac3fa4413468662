"""Options of an engine's command line that plans hang on."""

COMMANDS = (
    "",
    "-tp 2",
    "--tensor_parallel_size=2 --dtype half",
    "-tp=2 --enable-expert-parallel --dtype float32",
    "-tp 2 -ep --no-enable-expert-parallel",
    "--pipeline-parallel-size 2 -tp 2 -tp 4",
    "-dp 2",
)
