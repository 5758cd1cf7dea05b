/**
 * The program inside a Python interpreter (3.8 and later). It runs one piece of source after another in one
 * namespace and talks JSON lines on descriptor 3; see `interpreter.ts` for the conversation.
 *
 * An interrupt (SIGINT) raises KeyboardInterrupt only below `call_user`, so it never hits the driver's own code nor a
 * later run.
 */
export const PYTHON_DRIVER = String.raw`
import ast, asyncio, builtins, fcntl, getpass, inspect, io, json, linecache, os, select, signal, struct, sys, time, traceback, types
try:
    import rlcompleter
except ImportError:
    rlcompleter = None

CONTROL = 3
OUT, ERR = os.dup(1), os.dup(2)
FIONREAD = getattr(__import__('termios'), 'FIONREAD', None)
PID = os.getpid()
os.set_inheritable(CONTROL, False)


def write_all(fd, data):
    while data:
        try:
            data = data[os.write(fd, data):]
        except BlockingIOError:
            select.select([], [fd], [])


def drain(fd):
    """Waits, within reason, until the other side has read what was written: keeps the order between the pipes."""
    if FIONREAD is None:
        return
    limit, pause = time.monotonic() + 1.0, 0.0001
    try:
        while struct.unpack('i', fcntl.ioctl(fd, FIONREAD, b'\0\0\0\0'))[0] and time.monotonic() < limit:
            time.sleep(pause)
            pause = min(pause * 2, 0.01)
    except OSError:
        pass


class Stream(io.TextIOWrapper):
    latest = None

    def write(self, text):
        previous = Stream.latest
        if previous is not self and os.getpid() == PID:
            Stream.latest = self
            if previous is not None:
                previous.flush()
                drain(previous.fileno())
        count = super().write(text)
        if not text or '\n' in text or '\r' in text or self is sys.stderr:
            self.flush()
        return count


def open_stream(fd, errors):
    raw = io.FileIO(fd, 'w', closefd=False)
    return Stream(io.BufferedWriter(raw), encoding='utf-8', errors=errors)


class Stdin(io.TextIOBase):
    encoding = 'utf-8'

    def readable(self):
        return True

    def readline(self, size=-1):
        return driver.ask('', False) + '\n'

    def read(self, size=-1):
        return self.readline()


class Driver:
    def __init__(self):
        self.buffer = b''
        self.marks = 0
        self.secret = ''
        self.run_id = 0
        self.running = False
        self.critical = 0
        self.pending = False
        self.loop = None
        self.main = types.ModuleType('__main__')
        self.names = self.main.__dict__
        self.names['__builtins__'] = builtins
        sys.modules['__main__'] = self.main

    def receive(self):
        while b'\n' not in self.buffer:
            chunk = os.read(CONTROL, 65536)
            if not chunk:
                os._exit(0)
            self.buffer += chunk
        line, self.buffer = self.buffer.split(b'\n', 1)
        return json.loads(line.decode('utf-8'))

    def send(self, **message):
        write_all(CONTROL, json.dumps(message).encode('ascii') + b'\n')

    def mark(self):
        for stream in {id(s): s for s in (sys.stdout, sys.stderr, STDOUT, STDERR)}.values():
            try:
                stream.flush()
            except Exception:
                pass
        self.marks += 1
        marker = ('\x1e%s%08d\x1e' % (self.secret, self.marks)).encode('ascii')
        write_all(OUT, marker)
        write_all(ERR, marker)
        return self.marks

    def on_interrupt(self, signum, frame):
        if not self.running or os.getpid() != PID:
            return
        while frame is not None and frame.f_code is not Driver.call_user.__code__:
            frame = frame.f_back
        if frame is None or self.critical:
            self.pending = True
            return
        raise KeyboardInterrupt

    def ask(self, prompt, is_password):
        if os.getpid() != PID:
            raise EOFError('input() is not available in a child process')
        import threading
        if threading.current_thread() is not threading.main_thread():
            raise RuntimeError('input() is available in the main thread only')
        sys.stdout.write(str(prompt))
        self.critical += 1
        try:
            number = self.mark()
            self.send(type='ask', id=self.run_id, mark=number, isPassword=is_password)
        finally:
            self.critical -= 1
        self.check()
        while True:
            message = self.receive()
            if message['type'] == 'input' and message['id'] == number:
                return message['text']

    def check(self):
        if self.pending:
            self.pending = False
            raise KeyboardInterrupt

    def compile(self, source, name):
        flags = getattr(ast, 'PyCF_ALLOW_TOP_LEVEL_AWAIT', 0)
        tree = compile(source, name, 'exec', ast.PyCF_ONLY_AST | flags)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        codes = [compile(tree, name, 'exec', flags)] if tree.body else []
        if last is not None:
            codes.append(compile(ast.Interactive([last]), name, 'single', flags))
        return codes

    def call_user(self, codes):
        self.send(type='started', id=self.run_id)
        self.check()
        for code in codes:
            if not code.co_flags & inspect.CO_COROUTINE:
                exec(code, self.names)
                continue
            if self.loop is None or self.loop.is_closed():
                self.loop = asyncio.new_event_loop()
                asyncio.set_event_loop(self.loop)
            task = self.loop.create_task(eval(code, self.names))
            try:
                self.loop.run_until_complete(task)
            except BaseException:
                task.cancel()
                try:
                    self.loop.run_until_complete(task)
                except BaseException:
                    pass
                raise

    def report(self, error):
        tb = error.__traceback__
        while tb is not None and tb.tb_frame.f_code.co_filename == FILE:
            tb = tb.tb_next
        try:
            traceback.print_exception(type(error), error, tb)
        except Exception:
            print(type(error).__name__, file=sys.stderr)

    def run(self, source):
        name = '<query-%d>' % self.run_id
        linecache.cache[name] = (len(source), None, source.splitlines(True), name)
        self.pending = False
        self.running = True
        exit_code = 0
        try:
            self.call_user(self.compile(source, name))
        except SystemExit as error:
            self.running = False
            if error.code is None:
                exit_code = 0
            elif isinstance(error.code, int):
                exit_code = int(error.code)
            else:
                print(error.code, file=sys.stderr)
                exit_code = 1
        except BaseException as error:
            self.running = False
            self.report(error)
            exit_code = 1
        self.running = False
        if os.getpid() != PID:
            os._exit(exit_code & 0xff)
        signal.signal(signal.SIGINT, self.on_interrupt)
        return exit_code

    def complete(self, text):
        if rlcompleter is None:
            return []
        start = len(text)
        while start > 0 and (text[start - 1].isalnum() or text[start - 1] in '_.'):
            start -= 1
        word = text[start:]
        if not word:
            return []
        completer, found = rlcompleter.Completer(self.names), []
        try:
            for state in range(500):
                match = completer.complete(word, state)
                if match is None:
                    break
                if match.rstrip('( ') not in found:
                    found.append(match.rstrip('( '))
        except BaseException:
            pass
        return found

    def serve(self):
        signal.signal(signal.SIGINT, self.on_interrupt)
        self.secret = self.receive()['secret']
        while True:
            message = self.receive()
            if message['type'] == 'run':
                self.run_id = message['id']
                exit_code = self.run(message['code'])
                self.send(type='done', id=self.run_id, mark=self.mark(), exitCode=exit_code)
            elif message['type'] == 'complete':
                self.send(type='suggestions', id=message['id'], suggestions=self.complete(message['text']))


def display(value):
    if value is None:
        return
    builtins._ = None
    sys.stdout.write(repr(value))
    sys.stdout.flush()
    builtins._ = value


FILE = Driver.run.__code__.co_filename
driver = Driver()
sys.stdout = sys.__stdout__ = STDOUT = open_stream(1, 'backslashreplace')
sys.stderr = sys.__stderr__ = STDERR = open_stream(2, 'backslashreplace')
sys.stdin = Stdin()
sys.displayhook = display
sys.argv = ['']
sys.path[0] = ''
builtins.input = lambda prompt='': driver.ask(prompt, False)
getpass.getpass = lambda prompt='Password: ', stream=None: driver.ask(prompt, True)
driver.serve()
`;
