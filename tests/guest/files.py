"""What the tests in a guest find in /work besides the project: types, and lines made elsewhere."""
import os
import subprocess
import sys
import tempfile

# The README's outputs are of this kernel, and so are the registers and offsets in its commands.
DOCUMENTED = ('6.1', 'x86_64')
TRACING = '/sys/kernel/tracing'
# What is true of these on one machine is true on another: the lines that -S makes of them here
# and those of a run there are compared.
CROSS = ['p wake_up_new_task comm=%0->comm users=S%0->mm->mm_users f:comm==nobody',
         'p vfs_read name=%0->f_path.dentry->d_name.name pos=U%0->f_pos count=U%2 f:name==nothing',
         'p ip_rcv proto=@(struct iphdr *)l3%0->protocol ip_src=@(struct iphdr *)%0->saddr '
         'b16_port=@(struct udphdr *)l3%0->dest kind=%0->pkt_type f:b16_port==1',
         'r kernel_clone pid=S$retval f:pid==1', 'e sched/sched_process_fork f:parent_pid==1']


def guest_files(kernel, arch):
    """Return them, path below /work -> bytes or a path here; for Python 3.8 and later."""
    from tests.lib import machines      # on this machine only
    types = machines.btf(kernel, arch)
    tool = [sys.executable, os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__)))), 'surftrace.py'), '-v', types, '-a', arch]
    with tempfile.TemporaryDirectory() as scratch:
        database = os.path.join(scratch, 'info.db')
        subprocess.run(tool + ['--make-db', database], check=True, stderr=subprocess.DEVNULL)
        with open(database, 'rb') as stream:
            data = stream.read()
    lines = subprocess.run(tool + ['-S', '--tracefs', TRACING] + CROSS, check=True,
                           stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout
    files = {'info.db': data, 'cross-lines': lines}
    if (kernel, arch) == DOCUMENTED:
        files['pi.btf'] = machines.btf(kernel, 'aarch64')
    return files
