# SPDX-License-Identifier: GPL-2.0-or-later
"""Nothing secret leaves the machine, and nothing useful is lost."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xenable.redact import REDACTED, Redactor

PEM = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaHNECRET\nAAAA\n-----END OPENSSH PRIVATE KEY-----"


@pytest.mark.parametrize(
    "text",
    [
        "password_pbkdf2 root grub.pbkdf2.sha512.10000.SECRET.SECRET",
        "  password root SECRET",
        "GRUB_X=grub.pbkdf2.sha512.10000.SECRET",
        "linux /vmlinuz root=/dev/vda1 rd.luks.key=/SECRET:UUID=1 ro",
        "rd.iscsi.password=SECRET",
        'systemd.set_credential=a:SECRET quiet "passphrase=SECRET b"',
        'token="SECRET and more SECRET"',
        "cryptkey=/dev/SECRET:ext4:/key",
        "wpa_psk=SECRET",
        "DB_PASSWORD: SECRET",
        "curl https://user:SECRET@example.org/x",
        "Authorization: Bearer SECRET",
        "root:$6$salt$SECRETSECRET:19000:0:99999:7:::",
        "root:$y$j9T$SALT$SECRET:1",
        "ssh-ed25519 AAAASECRET me@here",
        "ecdsa-sha2-nistp256 AAAAESECRET= me",
        "tool --password SECRET --verbose",
        "sudo: joe : COMMAND=/usr/bin/tool --passphrase 'SECRET and more SECRET' x",
        "tailscale up --authkey=SECRET",
        "tailscale up --authkey SECRET",
        "mysql -u root -pSECRET db",
        "/usr/bin/mariadb-dump -p'SECRET' db",
        "sshpass -p SECRET ssh joe@host",
        "curl -s -u joe:SECRET https://example.org/",
        "curl -su 'joe:SECRET' https://example.org/",
        "curl --user joe:SECRET https://example.org/",
        "DB_PASS=SECRET",
        "smtp_pass=SECRET",
        "MYSQL_PWD=SECRET mysql",
        "pw=SECRET",
        "pass=SECRET",
        "pwd=SECRET",
        "rootpw = SECRET",
        '  pass: "SECRET SECRET"',
        'password="SECRET and no end',
        '{"password":"SECRET"}',
        '{"a":1,"token":"SECRET","b":2}',
        '{"pass":"SECRET","b":2}',
        r'{"text": "{\"password\":\"SECRET and SECRET\"}"}',
        r'{"secret":"SEC\"SECRET"}',
        "PrivateKey = SECRET=",
        "DefaultEndpointsProtocol=https;AccountKey=SECRET==;EndpointSuffix=x",
        "SharedAccessKey=SECRET",
        "masterkey=SECRET",
        "netroot=iscsi:user:SECRET@192.168.1.1::::iqn.2010-01.org.example:disk",
        "rootflags=vers=3.0,user=joe,pass=SECRET ro",
        "  wpa-psk SECRET SECRET",
        "ifup[12]: wireless-key1 SECRET",
        "Cookie: session=SECRET; other=SECRET",
        "curl -H 'Set-Cookie: a=SECRET' x",
        f"remote: ghp_{'SECRET' * 6} is no good",
        "http://u:p@SECRET@host/x",
        "http://u:p/SECRET@host/x",
        PEM,
        "log: " + PEM[:45] + "SECRET",
    ],
)
def test_secrets_go(text: str) -> None:
    shown = Redactor().text(text)
    assert "SECRET" not in shown.replace(REDACTED, "") and REDACTED in shown


@pytest.mark.parametrize(
    "text",
    [
        "root=UUID=6e0b1a2f-9c39-4a5e-8a52-0f6f0b0f7a11 ro quiet console=ttyS0,115200n8",
        "rd.vconsole.keymap=de-latin1 vconsole.keytable=de monkey=1 keyboard=us",
        "menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple-6e0b' {",
        "dom0_mem=1405M,max:1405M ucode=scan watchdog com1=115200,8n1",
        "Nov 22 23:37:05 kernel: pci 0000:00:1f.2: [8086:2922] type 00 class 0x010601",
        "172.20.216.0/24 dev xen0 scope link src 172.20.216.1",
        "10.0.2.15/24 127.0.0.1 192.168.1.1 fd00:abcd::1 ::1 ::",
        "link/loopback 00:00:00:00:00:00 brd ff:ff:ff:ff:ff:ff",
        "Boot0001* debian HD(1,GPT,6e0b1a2f-9c39-4a5e-8a52-0f6f0b0f7a11,0x800,0x100000)",
        "rd.vconsole.keymap=us keymap=us keyboard=de kernel.keys.maxkeys = 200 kernel.keyring: 3",
        "Nov 22 23:37:05 kernel: Freeing unused memory; pass 1 of 2: bypass=1 iommu.passthrough=1",
        "e2fsck: Pass 1: checking inodes; let it pass: all is well",
        "(XEN) *** Serial input to DOM0 (type 'CTRL-a' three times to switch input)",
        "(XEN) xen key handler: 'R' pressed -> rebooting; key code 0x1c; tty tty1 ttyS0",
        "Nov 22 12:34:56 host sshd[12]: Accepted publickey for root from 192.168.1.1 port 22 ssh2: ED25519",
        "ata1.00: cmd 60/08:00:00:08:00/00:00:00:00:00/40 tag 0 ncq dma 4096 in",
        "curl -sS https://example.org/a:b@c http://example.org:80/x@y docker --user 1000:1000 user@host:22",
        "systemctl --user status: x; mysql -p db; the password is asked for",
        "root=zfs:rpool/ROOT/debian@now root=nfs:10.0.0.1:/srv",
        "2024-11-22-12-34-56 12:34:56 00:1f.2 cpus 00:01:02",
        "wpa-key-mgmt WPA-PSK",
        "xenable guest create web1 --ssh-key /root/me.pub",
        "xen-hypervisor-4.17-amd64 4.17.7+13-g2445b30a44-0+deb12u1",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_the_identifier_of_a_dhcp_client_is_a_hardware_address() -> None:
    shown = Redactor().text("dhcp-client-id=01:52:54:ab:12:34:56\nmac-address=52:54:ab:12:34:56\n")
    assert shown == "dhcp-client-id=01:02:00:00:00:00:01\nmac-address=02:00:00:00:00:01\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        # As a firewall logs it: where to, where from, and the kind of packet.
        (
            "[UFW BLOCK] IN=enp1s0 OUT= MAC=52:54:ab:12:34:56:d2:74:7f:6e:37:e3:08:00 SRC=10.0.0.1",
            "[UFW BLOCK] IN=enp1s0 OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 SRC=10.0.0.1",
        ),
        (
            "MAC=ff:ff:ff:ff:ff:ff:52:54:ab:12:34:56:08:00 ",
            "MAC=ff:ff:ff:ff:ff:ff:02:00:00:00:00:01:08:00 ",
        ),
        ("ifname=eth0:52:54:ab:12:34:56 ro", "ifname=eth0:02:00:00:00:00:01 ro"),
        ("ifname=bond10:52:54:ab:12:34:56", "ifname=bond10:02:00:00:00:00:01"),
        ("52:54:ab:12:34:56: link is up", "02:00:00:00:00:01: link is up"),
        ("BOOTIF=01-52-54-ab-12-34-56", "BOOTIF=01-02-00-00-00-00-01"),
        ("DUID 00:03:00:01:52:54:ab:12:34:56", "DUID 00:03:00:01:02:00:00:00:00:01"),
        (
            "DUID 00:01:00:01:2a:3b:4c:5d:52:54:ab:12:34:56",
            "DUID 02:00:00:00:00:00:00:00:00:00:00:00:00:01",
        ),
        ("DUID=0004c0ffee0123456789", "DUID=02000000000000000001"),
        (
            "link/infiniband 80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:12:34:56",
            "link/infiniband 02:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:00:01",
        ),
        ("wwn 50:01:43:80:24:1a:bb:cc", "wwn 02:00:00:00:00:00:00:01"),
        ("dp: 03 0b 25 00 52 54 ab 12 34 56 00 00", "dp: 03 0b 25 00 02 00 00 00 00 01 00 00"),
        ("wlx5254ab123456", "wlx020000000001"),
    ],
)
def test_hardware_addresses_in_all_their_forms(text: str, shown: str) -> None:
    redactor = Redactor()
    assert redactor.text(text) == shown
    assert redactor.text(shown) == shown


@given(st.lists(st.binary(min_size=6, max_size=20), min_size=1), st.sampled_from(":-"))
def test_no_hardware_address_is_left(addresses: list[bytes], separator: str) -> None:
    redactor = Redactor()
    for address in addresses:
        # Its own last six numbers, of which the 02:00:00:00 of a made-up one is no part.
        written = bytes([0xA4, *address[1:-1], 0xB5]).hex(separator)
        for text in (f"from {written} to", f"ifname=eth0:{written}", f"({written})", f"MAC={written} "):
            assert written[-17:] not in redactor.text(text)


def test_what_is_before_a_host_goes_and_the_host_stays() -> None:
    text = "http://u:p@ss@host/x netroot=iscsi:u:p@10.0.0.1:::1:iqn.x"
    assert Redactor().text(text) == (f"http://{REDACTED}@host/x netroot=iscsi:{REDACTED}@10.0.0.1:::1:iqn.x")


def test_addresses_get_the_same_other_name_everywhere() -> None:
    redactor = Redactor()
    text = (
        "enx5254ab123456: 52:54:ab:12:34:56 MAC(5254AB123456,0) 52-54-AB-12-34-56\n"
        "UEFI PXEv4 (MAC:5254AB123456)\n"
        "8.8.8.7 8.8.8.0/24 9.9.9.9:22 2a01:4f8:1:2::3/64 2a01:4f8:1:2:: [2a01:4f8:1:2::3]:22 "
        "fe80::5054:abff:fe12:3456\n"
    )
    shown = redactor.text(text)
    assert shown == (
        "enx020000000001: 02:00:00:00:00:01 MAC(020000000001,0) 02-00-00-00-00-01\n"
        "UEFI PXEv4 (MAC:020000000001)\n"
        "198.18.0.7 198.18.0.0/24 198.18.1.9:22 2001:db8:0:2::1/64 2001:db8:0:2:: [2001:db8:0:2::1]:22 "
        "fe80::2\n"
    )
    assert redactor.text("52:54:ab:12:34:56 at 8.8.8.9") == "02:00:00:00:00:01 at 198.18.0.9"


@given(st.ip_addresses())
def test_no_public_address_is_left(address: object) -> None:
    shown = Redactor().text(f"from {address} port 22")
    left = ip_address(shown.split()[1])
    # An IPv4 address may come in the clothes of IPv6: what counts is the one inside.
    inner = getattr(left, "ipv4_mapped", None) or left
    assert not left.is_global or inner.is_multicast or not inner.is_global


@given(st.lists(st.text() | st.ip_addresses().map(str)).map(" ".join))
def test_any_text_is_taken_and_a_second_look_changes_nothing(text: str) -> None:
    redactor = Redactor()
    once = redactor.text(text)
    assert redactor.text(once) == once


def test_json_keeps_its_form() -> None:
    value = {"password": "x", "a": [1, None, True, {"command_line": "ro rd.luks.key=/SECRET"}]}
    shown = Redactor().value(value)
    assert shown["a"][:3] == [1, None, True]
    assert shown["a"][3] == {"command_line": f"ro rd.luks.key={REDACTED}"}
