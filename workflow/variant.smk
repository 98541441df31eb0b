# The part of a study that each of its variants has for itself: workflow/rules/variants.smk loads it with
# the variant's configuration.
include: "rules/common.smk"
include: "rules/training_inputs.smk"
include: "rules/training.smk"
include: "rules/evaluation_inputs.smk"
include: "rules/evaluation.smk"
