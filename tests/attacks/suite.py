"""All attacks on the sandbox, and which of them may succeed."""

from attacks.attack import Attack
from attacks.grader import GRADER, NEEDS_OWN_RUNNER
from attacks.kernel import KERNEL
from attacks.keys import KEYS
from attacks.labels import LABELS
from attacks.metric import METRIC
from attacks.network import NETWORK
from attacks.persistence import PERSISTENCE
from attacks.privileges import PRIVILEGES
from attacks.processes import PROCESSES
from attacks.resources import RESOURCES
from attacks.submission import OUTPUT, SUBMISSION

__all__ = ["ATTACKS", "HARMLESS", "NEEDS_OWN_RUNNER", "ROOT_ONLY", "Attack"]

ATTACKS: tuple[Attack, ...] = (
    *LABELS,
    *METRIC,
    *GRADER,
    *KEYS,
    *NETWORK,
    *PROCESSES,
    *PERSISTENCE,
    *RESOURCES,
    *KERNEL,
    *PRIVILEGES,
    *SUBMISSION,
    *OUTPUT,
)

# Done by root only, whatever is or is not in the way.
ROOT_ONLY = frozenset(
    """another_user answers_mounted_as_submission capabilities change_root copy_of_all_mounts
    devices_of_the_host exchange_root express_data_path_socket file_in_the_standard_library
    file_that_cannot_be_removed give_answers_away handler_of_crashes higher_priority
    home_of_the_account host_name kernel_addresses kernel_log kernel_programs locked_memory
    make_its_memory_cold module_among_the_libraries mount namespace_of_another_process
    network_namespace new_file_system open_by_inode own_control_group packet_socket
    process_accounting raw_socket real_time_priority stop_the_supervisor swap_space""".split()
)
_EVERYWHERE = {
    "descriptors_of_all_children_together": "a program gets 256 for each process that it may have, "
    "far from what a machine has",
    "program_that_is_no_file": "what is executed is confined like what executes it",
}
# By tier, with the reason.
HARMLESS: dict[str, dict[str, str]] = {
    "namespaces": _EVERYWHERE,
    "landlock": _EVERYWHERE
    | {"see_that_a_file_exists": "Landlock hides what is in a file, not its size and age"},
}
