"""What a container is made of: the runtime's packages, the layer, functions, a trusted provider.

The packages are installed once into ``.local/bench`` (that needs the package index) and again only
when their pins change.
"""

from __future__ import annotations

import hashlib
import ipaddress
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks import LAYER, ROOT
from benchmarks.layer import CACHE
from local import template as templates

RUNTIME_PINS: Final = ROOT / "requirements" / "cold.txt"
LAYER_PINS: Final = LAYER / "requirements.txt"
PLAIN: Final = "plain"
# Run by the runtime's Python, as the build for AWS is.
BUILD: Final = """
import sys
from pathlib import Path
from scripts import artefact
home, domain, *functions = map(Path, sys.argv[1:])
artefact.domain(domain, home / "layer")
for each in functions:
    artefact.function(each, home / "functions" / each.name)
"""


@dataclass(frozen=True)
class Places:
    """Folders, and the interpreter that has the runtime client.

    ``trust`` holds the layer's ``certifi`` with one more root, that of the provider here.
    """

    python: Path
    version: str
    layer: Path
    functions: Path
    trust: Path
    certificate: Path
    key: Path

    def path_of(self, function: str) -> str:
        """Return the PYTHONPATH of a function: its folder, then the layer, as on Lambda."""
        return ":".join(map(str, (self.functions / function, self.trust, self.layer)))


def prepare() -> Places:
    """Install, copy and compile.

    Raises:
        OSError: the packages could not be installed.
    """
    template = templates.load(ROOT / "template.yaml")
    wanted = str(template["Parameters"]["Runtime"]["Default"]).removeprefix("python")
    python = _interpreter(wanted)
    pins = hashlib.sha256(RUNTIME_PINS.read_bytes() + LAYER_PINS.read_bytes() + python.encode())
    home = CACHE / f"cold-{pins.hexdigest()[:16]}"
    runtime, layer = home / "runtime", home / "layer"
    interpreter = str(runtime / "bin/python")
    if not (home / "installed").exists():
        print("  installing what Lambda's runtime and the layer bring, once ...", flush=True)
        for old in CACHE.glob("cold-*"):
            shutil.rmtree(old)
        _run(python, "-m", "venv", str(runtime))
        options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes")
        pip = (interpreter, "-m", "pip", "install", *options)
        _run(*pip, "-r", str(RUNTIME_PINS))
        _run(*pip, "--no-compile", "--target", str(layer / "python"), "-r", str(LAYER_PINS))
        (home / "installed").touch()
    for old in (layer / "python" / "keystow", home / "functions"):
        shutil.rmtree(old, ignore_errors=True)
    _run(interpreter, "-c", BUILD, str(home), str(LAYER / "keystow"), *map(str, _functions()))
    certificate, key = trusted(home, layer / "python" / "certifi")
    version = _run(interpreter, "-c", "import platform; print(platform.python_version())")
    return Places(
        Path(interpreter),
        version.strip(),
        layer / "python",
        home / "functions",
        home / "trust",
        certificate,
        key,
    )


def _functions() -> list[Path]:
    """Return the functions' folders and the plain handler's."""
    functions = [path.parent for path in (ROOT / "functions").glob("*/app.py")]
    return [*functions, Path(__file__).parent / PLAIN]


def memory_of(function: str) -> int:
    """Return the MB of a function of the template, with the parameters' defaults."""
    template = templates.load(ROOT / "template.yaml")
    usual = template["Globals"]["Function"]
    found: Any = next(
        {**usual, **properties}["MemorySize"]
        for properties in templates.functions(template).values()
        if properties["CodeUri"].rpartition("/")[2] == function
    )
    if isinstance(found, dict):
        found = template["Parameters"][found["Ref"]]["Default"]
    return int(found)


def _interpreter(version: str) -> str:
    """Return the Python of the runtime, or else the one that runs here."""
    done = subprocess.run(
        [ROOT / "scripts" / "find-python", version], check=False, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else sys.executable


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        raise OSError(done.stderr.strip()[-500:])
    return done.stdout


def trusted(home: Path, certifi: Path) -> tuple[Path, Path]:
    """Make a certificate for 127.0.0.1, and a certifi that trusts it besides all others.

    Args:
        home: gets ``certificate.pem``, ``key.pem`` and the folder ``trust`` for a PYTHONPATH.
        certifi: the package as it is installed.

    Returns:
        Certificate and key.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def signed(
        name: str, public: Any, issuer: str, signer: Any, extensions: dict[Any, bool]
    ) -> bytes:
        now = datetime.now(UTC)
        names = [
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, each)]) for each in (name, issuer)
        ]
        own = x509.SubjectKeyIdentifier.from_public_key(public)
        theirs = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[0])
            .issuer_name(names[1])
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=1))
        )
        for extension, critical in {**extensions, own: False, theirs: False}.items():
            builder = builder.add_extension(extension, critical)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    root, leaf = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    usage = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
        ),
        False,
    )
    authority = signed(
        "bench root",
        root.public_key(),
        "bench root",
        root,
        {
            x509.BasicConstraints(ca=True, path_length=0): True,
            x509.KeyUsage(**{**usage, "key_cert_sign": True}): True,
        },
    )
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    certificate = signed(
        "bench",
        leaf.public_key(),
        "bench root",
        root,
        {
            x509.BasicConstraints(ca=False, path_length=None): True,
            x509.SubjectAlternativeName([address]): False,
        },
    )
    trust = home / "trust"
    shutil.rmtree(trust, ignore_errors=True)
    shutil.copytree(certifi, trust / "certifi")
    with (trust / "certifi" / "cacert.pem").open("ab") as file:
        file.write(b"\n" + authority)
    (home / "certificate.pem").write_bytes(certificate)
    (home / "key.pem").write_bytes(
        leaf.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return home / "certificate.pem", home / "key.pem"
