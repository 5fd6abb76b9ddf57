using System.Buffers.Binary;
using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Cm;

public class KeyTests : RegistryTest
{
    NTSTATUS Open(string name, out HANDLE key, HANDLE root = default, OBJ_FLAGS flags = OBJ_KERNEL_HANDLE) =>
        ZwOpenKey(out key, KEY_READ, Attributes(name, root, flags));

    [Fact]
    public void A_driver_has_a_service_key_at_its_registry_path() => Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS, Open(@"\Registry\Machine\System\CurrentControlSet\Services\test", out HANDLE key));
        PVOID name = Memory(200);
        Assert.Equal(STATUS_SUCCESS, ZwQueryKey(key, KeyNameInformation, name, 200, out uint length));
        Assert.Equal(@"\REGISTRY\Machine\System\ControlSet001\Services\test", Encoding.Unicode.GetString(Bytes(name, (int)length)[4..]));
        Assert.Equal(STATUS_SUCCESS, ZwClose(key));
    });

    [Fact]
    public void Creating_tells_whether_the_key_was_there_and_makes_one_level_only() => Run(() =>
    {
        PULONG disposition = new(Memory(4).Address);
        Assert.Equal(STATUS_SUCCESS, ZwCreateKey(out HANDLE key, KEY_ALL_ACCESS, Attributes(Path), 0, default, 0, disposition));
        Assert.Equal(REG_CREATED_NEW_KEY, disposition.Value);
        Assert.Equal(STATUS_SUCCESS, ZwCreateKey(out HANDLE again, KEY_ALL_ACCESS, Attributes(Path.ToUpperInvariant()), 0, default, 0, disposition));
        Assert.Equal(REG_OPENED_EXISTING_KEY, disposition.Value);
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, ZwCreateKey(out _, KEY_ALL_ACCESS, Attributes(Path + @"\a\b"), 0, default, 0, default));
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwCreateKey(out _, KEY_ALL_ACCESS, Attributes(Path + @"\c"), 0, default, 0x8000, default));
        Create("a", key);
        Assert.Equal(STATUS_SUCCESS, Open(@"a", out _, again));
        Assert.Equal(STATUS_OBJECT_PATH_SYNTAX_BAD, Open(@"\a", out _, again));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Open(Path + @"\x", out _));
        Assert.Equal(STATUS_OBJECT_PATH_NOT_FOUND, Open(@"\Registered\Machine", out _));
        Assert.Equal(STATUS_OBJECT_TYPE_MISMATCH, ZwOpenDirectoryObject(out _, DIRECTORY_QUERY, Attributes(@"\Registry")));
        Assert.Equal(STATUS_SUCCESS, ZwOpenKeyEx(out _, KEY_READ, Attributes(Path), REG_OPTION_OPEN_LINK));
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwOpenKeyEx(out _, KEY_READ, Attributes(Path), 0x10));
    });

    [Fact]
    public void Below_a_volatile_key_everything_is_volatile() => Run(() =>
    {
        HANDLE key = Create(Path, options: REG_OPTION_VOLATILE);
        Assert.Equal(STATUS_CHILD_MUST_BE_VOLATILE, ZwCreateKey(out _, KEY_ALL_ACCESS, Attributes("child", key), 0, default, 0, default));
        Create("child", key, REG_OPTION_VOLATILE);
    });

    [Fact]
    public void A_deleted_key_is_gone_and_its_handles_are_good_for_closing() => Run(() =>
    {
        HANDLE key = Create(Path), child = Create("child", key);
        Assert.Equal(STATUS_CANNOT_DELETE, ZwDeleteKey(key));
        Assert.Equal(STATUS_SUCCESS, ZwDeleteKey(child));
        Assert.Equal(STATUS_KEY_DELETED, ZwFlushKey(child));
        Assert.Equal(STATUS_KEY_DELETED, Set(child, "x", REG_BINARY));
        Assert.Equal(STATUS_KEY_DELETED, Open("below", out _, child));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Open("child", out _, key));
        Assert.Equal(STATUS_SUCCESS, ZwClose(child));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwFlushKey(child));
        Assert.Equal(STATUS_SUCCESS, ZwDeleteKey(key));
    });

    [Fact]
    public void A_renamed_key_is_found_under_its_new_name_only() => Run(() =>
    {
        HANDLE key = Create(Path), one = Create("one", key);
        Create("two", key);
        Assert.Equal(STATUS_CANNOT_DELETE, ZwRenameKey(one, RTL_CONSTANT_STRING("two")));
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwRenameKey(one, RTL_CONSTANT_STRING(@"a\b")));
        Assert.Equal(STATUS_SUCCESS, ZwRenameKey(one, RTL_CONSTANT_STRING("three")));
        Assert.Equal(STATUS_SUCCESS, Open("three", out _, key));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Open("one", out _, key));
    });

    [Fact]
    public void Subkeys_are_enumerated_by_name_with_class_and_counts() => Run(() =>
    {
        HANDLE key = Create(Path, className: "Kind");
        Create("beta", key);
        Create("Alpha", key, className: "Cls");
        Set(key, "value", REG_BINARY, 1, 2, 3, 4, 5);
        PVOID buffer = Memory(256);
        Assert.Equal(STATUS_SUCCESS, ZwEnumerateKey(key, 0, KeyBasicInformation, buffer, 256, out uint length));
        Assert.Equal(0x10u + 10, length);
        Assert.Equal("Alpha", Encoding.Unicode.GetString(Bytes(buffer, (int)length)[0x10..]));
        Assert.Equal(STATUS_SUCCESS, ZwEnumerateKey(key, 0, KeyNodeInformation, buffer, 256, out length));
        byte[] node = Bytes(buffer, (int)length);
        int classOffset = BinaryPrimitives.ReadInt32LittleEndian(node.AsSpan(0xC));
        Assert.Equal((0x24, 6, 10), (classOffset, BinaryPrimitives.ReadInt32LittleEndian(node.AsSpan(0x10)), BinaryPrimitives.ReadInt32LittleEndian(node.AsSpan(0x14))));
        Assert.Equal("Cls", Encoding.Unicode.GetString(node[classOffset..]));
        Assert.Equal(STATUS_NO_MORE_ENTRIES, ZwEnumerateKey(key, 2, KeyBasicInformation, buffer, 256, out _));
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwEnumerateKey(key, 0, KeyNameInformation, buffer, 256, out _));

        Assert.Equal(STATUS_SUCCESS, ZwQueryKey(key, KeyFullInformation, buffer, 256, out length));
        byte[] full = Bytes(buffer, (int)length);
        int[] counts = [.. Enumerable.Range(0, 6).Select(i => BinaryPrimitives.ReadInt32LittleEndian(full.AsSpan(0x14 + 4 * i)))];
        Assert.Equal([2, 10, 6, 1, 10, 5], counts);
        Assert.Equal("Kind", Encoding.Unicode.GetString(full[0x2C..]));
        Assert.Equal(STATUS_SUCCESS, ZwQueryKey(key, KeyCachedInformation, buffer, 256, out length));
        Assert.Equal(0x28u, length);
        Assert.Equal(STATUS_INVALID_PARAMETER, ZwQueryKey(key, (KEY_INFORMATION_CLASS)77, buffer, 256, out _));
    });

    [Fact]
    public void What_does_not_fit_is_cut_off_or_refused_and_the_length_told() => Run(() =>
    {
        HANDLE key = Create(Path);
        Assert.Equal(STATUS_SUCCESS, Set(key, "Name", REG_SZ, Wide("text\0")));
        PVOID buffer = Memory(64);
        Assert.Equal(STATUS_BUFFER_TOO_SMALL, Query(KeyValuePartialInformation, 11, out uint length));
        Assert.Equal(22u, length);
        Assert.Equal(0, Bytes(buffer, 1)[0] + Bytes(buffer, 12)[8]);
        Assert.Equal(STATUS_BUFFER_OVERFLOW, Query(KeyValuePartialInformation, 14, out length));
        Assert.Equal((22u, (byte)'t', (byte)10), (length, Bytes(buffer, 13)[12], Bytes(buffer, 9)[8]));
        Assert.Equal(STATUS_SUCCESS, Query(KeyValuePartialInformation, 22, out _));
        PKEY_VALUE_PARTIAL_INFORMATION partial = new(buffer.Address);
        Assert.Equal((REG_SZ, 10u), (partial.Type, partial.DataLength));
        Assert.Equal(STATUS_SUCCESS, Query(KeyValueFullInformation, 64, out length));
        PKEY_VALUE_FULL_INFORMATION full = new(buffer.Address);
        Assert.Equal((REG_SZ, 0x1Cu, 10u, 8u, 0x26u), (full.Type, full.DataOffset, full.DataLength, full.NameLength, length));
        Assert.Equal(STATUS_SUCCESS, Query(KeyValueFullInformationAlign64, 64, out _));
        Assert.Equal(0x20u, full.DataOffset);
        Assert.Equal(STATUS_SUCCESS, Query(KeyValuePartialInformationAlign64, 64, out length));
        Assert.Equal(18u, length);
        Assert.Equal(STATUS_SUCCESS, Query(KeyValueBasicInformation, 64, out length));
        Assert.Equal(20u, length);
        Assert.Equal(STATUS_INVALID_PARAMETER, Query((KEY_VALUE_INFORMATION_CLASS)9, 64, out _));

        NTSTATUS Query(KEY_VALUE_INFORMATION_CLASS kind, uint size, out uint needed) =>
            ZwQueryValueKey(key, RTL_CONSTANT_STRING("NAME"), kind, buffer, size, out needed);
    });

    [Fact]
    public void Values_keep_their_order_and_their_first_spelling() => Run(() =>
    {
        HANDLE key = Create(Path);
        foreach (string name in (string[])["b", "a", ""]) Set(key, name, REG_DWORD, 1, 0, 0, 0);
        Set(key, "B", REG_DWORD, 2, 0, 0, 0);
        PVOID buffer = Memory(64);
        Assert.Equal(["b=2", "a=1", "=1"], All());
        Assert.Equal(STATUS_SUCCESS, ZwDeleteValueKey(key, RTL_CONSTANT_STRING("A")));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, ZwDeleteValueKey(key, RTL_CONSTANT_STRING("a")));
        Assert.Equal(["b=2", "=1"], All());

        IEnumerable<string> All()
        {
            for (uint i = 0; ZwEnumerateValueKey(key, i, KeyValueFullInformation, buffer, 64, out _) is var status && status != STATUS_NO_MORE_ENTRIES; i++)
            {
                Assert.Equal(STATUS_SUCCESS, status);
                PKEY_VALUE_FULL_INFORMATION full = new(buffer.Address);
                string name = Encoding.Unicode.GetString(Bytes(new PVOID(buffer.Address + 0x14), (int)full.NameLength));
                yield return $"{name}={Bytes(new PVOID(buffer.Address + full.DataOffset), 1)[0]}";
            }
        }
    });

    [Fact]
    public void A_link_leads_on_unless_it_is_opened_itself() => Run(() =>
    {
        Create(Path);
        Create(Path + @"\target");
        HANDLE link = Create(Path + @"\link", options: REG_OPTION_CREATE_LINK);
        Assert.Equal(STATUS_SUCCESS, Set(link, "SymbolicLinkValue", REG_LINK, Wide(Path + @"\target")));
        Create(Path + @"\link\below");
        Assert.Equal(STATUS_SUCCESS, Open(Path + @"\target\below", out _));
        Assert.Equal(STATUS_SUCCESS, Open(Path + @"\link", out HANDLE itself, flags: OBJ_KERNEL_HANDLE | OBJ_OPENLINK));
        Assert.Equal(STATUS_SUCCESS, ZwDeleteKey(itself));
        Assert.Equal(STATUS_SUCCESS, Open(Path + @"\target", out _));
        HANDLE circle = Create(Path + @"\circle", options: REG_OPTION_CREATE_LINK);
        Set(circle, "SymbolicLinkValue", REG_LINK, Wide(Path + @"\circle"));
        Assert.Equal(STATUS_OBJECT_NAME_NOT_FOUND, Open(Path + @"\circle", out _));
    });
}
