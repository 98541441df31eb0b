"""Legitimate programs that use processes, threads, signals and what a process knows of itself."""

from textwrap import dedent

_PROGRAMS = {
    "joblib with workers": """
        from math import sqrt

        from joblib import Parallel, delayed

        print(Parallel(n_jobs=2)(delayed(sqrt)(i) for i in range(6)))
        print(Parallel(n_jobs=-1)(delayed(sqrt)(i) for i in range(6)))
        """,
    "joblib with threads": """
        from joblib import Parallel, delayed

        print(Parallel(n_jobs=4, prefer="threads")(delayed(pow)(i, 2) for i in range(6)))
        """,
    "joblib with large arrays": """
        import numpy as np
        from joblib import Parallel, delayed

        table = np.arange(400_000.0)
        print(Parallel(n_jobs=2)(delayed(np.sum)(table[i:]) for i in range(3)))
        """,
    "pool of processes": """
        import multiprocessing


        def square(x):
            return x * x


        if __name__ == "__main__":
            with multiprocessing.Pool(3) as pool:
                print(pool.map(square, range(10)), pool.starmap(pow, [(2, 3), (3, 2)]))
                print(sorted(pool.imap_unordered(square, range(5))))
        """,
    "processes and a queue": """
        import multiprocessing


        def work(number, queue):
            queue.put((number, number**2))


        queue = multiprocessing.Queue()
        workers = [multiprocessing.Process(target=work, args=(i, queue)) for i in range(3)]
        for worker in workers:
            worker.start()
        print(sorted(queue.get() for _ in workers))
        for worker in workers:
            worker.join()
        print([worker.exitcode for worker in workers])
        """,
    "shared counter and array": """
        import multiprocessing


        def add(counter, squares):
            for i in range(200):
                with counter.get_lock():
                    counter.value += 1
                squares[i % 5] = i % 5 * 1.5


        counter, squares = multiprocessing.Value("i", 0), multiprocessing.Array("d", 5)
        workers = [multiprocessing.Process(target=add, args=(counter, squares)) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        print(counter.value, list(squares))
        """,
    "event, barrier and pipe": """
        import multiprocessing


        def wait(event, barrier, end):
            event.wait()
            barrier.wait()
            end.send("done")


        event, barrier = multiprocessing.Event(), multiprocessing.Barrier(2)
        own, other = multiprocessing.Pipe()
        worker = multiprocessing.Process(target=wait, args=(event, barrier, other))
        worker.start()
        event.set()
        barrier.wait(10)
        print(own.recv())
        worker.join()
        """,
    "manager": """
        import multiprocessing

        with multiprocessing.Manager() as manager:
            shared = manager.dict()
            shared["a"] = 1
            print(dict(shared))
        """,
    "shared memory with a name": """
        from multiprocessing.shared_memory import SharedMemory

        block = SharedMemory(create=True, size=100)
        block.buf[:3] = b"abc"
        same = SharedMemory(block.name)
        print(bytes(same.buf[:3]))
        same.close()
        block.close()
        block.unlink()
        """,
    "executor of processes": """
        from concurrent.futures import ProcessPoolExecutor


        def cube(x):
            return x**3


        if __name__ == "__main__":
            with ProcessPoolExecutor(2) as executor:
                print(list(executor.map(cube, range(8))))
                print(type(executor.submit(cube, "x").exception()).__name__)
        """,
    "executor of threads": """
        from concurrent.futures import ThreadPoolExecutor, as_completed

        with ThreadPoolExecutor(4) as executor:
            futures = [executor.submit(abs, -i) for i in range(6)]
            print(sorted(future.result() for future in as_completed(futures)))
        """,
    "threads and locks": """
        import queue
        import threading

        total, lock, results = 0, threading.Lock(), queue.Queue()


        def add():
            global total
            for _ in range(1000):
                with lock:
                    total += 1
            results.put("done")


        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(total, results.qsize())
        """,
    "another interpreter": """
        import subprocess
        import sys

        program = "import json, numpy; print(json.dumps({'sum': int(numpy.arange(5).sum())}))"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        print(done.stdout, done.stderr, done.returncode)
        """,
    "a script of its own in another interpreter": """
        import subprocess
        import sys

        with open("train_model.py", "w") as file:
            file.write("import sys, pandas as pd\\nprint(len(pd.read_csv(sys.argv[1])))\\n")
        subprocess.run([sys.executable, "train_model.py", "train.csv"], check=True)
        """,
    "shell commands": """
        import os
        import subprocess

        print(subprocess.check_output("head -1 train.csv | tr , ' ' | wc -w", shell=True))
        print(os.popen("ls").read(), os.system("exit 3") >> 8)
        failed = subprocess.run(["ls", "missing"], capture_output=True)
        print(failed.returncode)
        """,
    "conversation with a process": """
        import subprocess

        with subprocess.Popen(["cat"], stdin=-1, stdout=-1, text=True) as process:
            print(process.communicate("through a pipe")[0])
        sleeper = subprocess.Popen(["sleep", "30"])
        sleeper.terminate()
        print(sleeper.wait())
        """,
    "fork and wait": """
        import os

        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(writer, b"from the child")
            os._exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), os.read(reader, 100))
        """,
    "asynchronous tasks": """
        import asyncio


        async def work(i):
            await asyncio.sleep(0.01 * i)
            return i


        async def main():
            print(await asyncio.gather(*(work(i) for i in (3, 1, 2))))
            print(await asyncio.to_thread(sum, [1, 2]))
            process = await asyncio.create_subprocess_exec("echo", "hello", stdout=-1)
            print((await process.communicate())[0])


        asyncio.run(main())
        """,
    "signals to itself": """
        import os
        import signal
        import time


        def stop(number, frame):
            raise TimeoutError(signal.Signals(number).name)


        signal.signal(signal.SIGALRM, stop)
        signal.signal(signal.SIGUSR1, lambda *_: print("usr1"))
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        try:
            time.sleep(10)
        except TimeoutError as error:
            print(error)
        """,
    "stopping its child": """
        import os
        import signal
        import time

        child = os.fork()
        if child == 0:
            time.sleep(30)
        os.kill(child, signal.SIGTERM)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        """,
    "limits and priorities": """
        import os
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
        print(soft, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
        print(os.cpu_count() == os.sysconf("SC_NPROCESSORS_ONLN"), len(os.sched_getaffinity(0)) > 0)
        os.sched_setaffinity(0, os.sched_getaffinity(0))
        os.nice(1)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0)
        """,
    "connected sockets and mapped memory": """
        import mmap
        import select
        import socket

        one, other = socket.socketpair()
        one.sendall(b"hello")
        print(select.select([other], [], [], 1)[0] == [other], other.recv(10))
        with mmap.mmap(-1, 1 << 20) as memory:
            memory.write(b"abc")
            print(memory[:3])
        """,
    "native code": """
        import ctypes
        import ctypes.util

        libm = ctypes.CDLL("libm.so.6")
        libm.cos.restype, libm.cos.argtypes = ctypes.c_double, [ctypes.c_double]
        print(libm.cos(0.0), ctypes.util.find_library("m"))
        """,
    "memory in use": """
        import os
        import platform

        with open("/proc/self/status") as status:
            print(any(line.startswith("VmRSS") for line in status))
        with open("/proc/meminfo") as memory:
            print(memory.readline().split()[0])
        print(platform.system(), bool(platform.machine()), platform.python_implementation())
        """,
    "who it is": """
        import os

        print(os.path.isdir(os.path.expanduser("~")), os.access(".", os.W_OK))
        print(sorted(name for name in os.environ if name.startswith("OMP")), os.getenv("LANG"))
        """,
}

PROCESSES = {name: dedent(text).lstrip("\n") for name, text in _PROGRAMS.items()}
