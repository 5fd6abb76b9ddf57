using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Reading and writing the registry without opening keys: RtlQueryRegistryValues and its companions. All at PASSIVE_LEVEL.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-rtlqueryregistryvalues"/>
public sealed class RegistryValues
{
    const uint Tag = 0x67655252; // "RReg"
    const string CurrentControlSet = @"\Registry\Machine\System\CurrentControlSet";

    static readonly string[] Beginnings =
    [
        "", $@"{CurrentControlSet}\Services\", $@"{CurrentControlSet}\Control\", @"\Registry\Machine\Software\Microsoft\Windows NT\CurrentVersion\",
        @"\Registry\Machine\Hardware\DeviceMap\", @"\Registry\User\.Default\",
    ];

    readonly Machine machine;

    internal RegistryValues(Machine machine) => this.machine = machine;

    Registry Registry => machine.Registry;

    // ---- Keys

    /// <summary>Looks whether a key exists.</summary>
    /// <param name="RelativeTo">RTL_REGISTRY_*.</param>
    /// <returns>STATUS_OBJECT_NAME_NOT_FOUND, STATUS_INVALID_PARAMETER.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlCheckRegistryKey(uint RelativeTo, PWSTR Path) => Find(RelativeTo, Path, create: false, out _);

    /// <summary>Creates a key, and those above it.</summary>
    /// <returns>STATUS_INVALID_PARAMETER.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlCreateRegistryKey(uint RelativeTo, PWSTR Path) => Find(RelativeTo, Path, create: true, out _);

    /// <summary>Creates or replaces a value; the key is created if it is missing.</summary>
    /// <param name="ValueType">REG_*.</param>
    /// <param name="ValueLength">Bytes.</param>
    /// <returns>STATUS_INVALID_PARAMETER, STATUS_INVALID_HANDLE.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlWriteRegistryValue(uint RelativeTo, PWSTR Path, PWSTR ValueName, uint ValueType, PVOID ValueData, uint ValueLength)
    {
        NTSTATUS status = Find(RelativeTo, Path, create: true, out RegistryKey? key);
        if (status >= 0) Registry.SetValue(key!, NameAt(ValueName), ValueType, ValueLength == 0 ? [] : GuestMemory.Read(ValueData.Address, (int)ValueLength));
        return status;
    }

    /// <summary>Deletes a value.</summary>
    /// <returns>STATUS_OBJECT_NAME_NOT_FOUND, STATUS_INVALID_PARAMETER.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlDeleteRegistryValue(uint RelativeTo, PWSTR Path, PWSTR ValueName)
    {
        NTSTATUS status = Find(RelativeTo, Path, create: false, out RegistryKey? key);
        if (status < 0) return status;
        lock (Registry.Gate) return key!.RemoveValue(NameAt(ValueName), machine.Time.Now) ? STATUS_SUCCESS : STATUS_OBJECT_NAME_NOT_FOUND;
    }

    static string NameAt(PWSTR name) => name.IsNull ? "" : Strings.Read(name);

    NTSTATUS Find(uint relativeTo, PWSTR path, bool create, out RegistryKey? key)
    {
        key = null;
        if ((relativeTo & RTL_REGISTRY_HANDLE) != 0)
        {
            NTSTATUS status = Registry.Find(new HANDLE(path.Address), out RegistryKey opened);
            if (status >= 0) key = opened;
            return status;
        }
        uint beginning = relativeTo & ~RTL_REGISTRY_OPTIONAL;
        if (beginning >= Beginnings.Length) return STATUS_INVALID_PARAMETER;
        string name = Beginnings[beginning] + NameAt(path);
        if (!name.StartsWith(@"\Registry", StringComparison.OrdinalIgnoreCase)) return STATUS_OBJECT_NAME_NOT_FOUND;
        key = create ? Registry.Create(name) : Registry.Find(name);
        return key is null ? STATUS_OBJECT_NAME_NOT_FOUND : STATUS_SUCCESS;
    }

    // ---- Queries

    /// <summary>Reads values into variables, or has routines of the driver called for them, as a table says.</summary>
    /// <param name="RelativeTo">RTL_REGISTRY_*; with RTL_REGISTRY_HANDLE, <paramref name="Path"/> is the handle of a key.</param>
    /// <param name="QueryTable">Ends with a row of zeros.</param>
    /// <param name="Environment">Not used: there are no environment variables in the kernel but SystemRoot.</param>
    /// <returns>
    /// STATUS_INVALID_PARAMETER for a bad row; STATUS_OBJECT_NAME_NOT_FOUND for a missing key, or value with RTL_QUERY_REGISTRY_REQUIRED;
    /// STATUS_BUFFER_TOO_SMALL; STATUS_OBJECT_TYPE_MISMATCH with RTL_QUERY_REGISTRY_TYPECHECK; or what a routine returned.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlQueryRegistryValues(uint RelativeTo, PWSTR Path, PRTL_QUERY_REGISTRY_TABLE QueryTable, PVOID Context, PVOID Environment)
    {
        NTSTATUS status = Find(RelativeTo, Path, create: false, out RegistryKey? top);
        if (status < 0) return status == STATUS_OBJECT_NAME_NOT_FOUND && (RelativeTo & RTL_REGISTRY_OPTIONAL) != 0 ? STATUS_SUCCESS : status;
        RegistryKey key = top!;
        for (PRTL_QUERY_REGISTRY_TABLE row = QueryTable; !IsEnd(row); row = new PRTL_QUERY_REGISTRY_TABLE(row.Address + RTL_QUERY_REGISTRY_TABLE.SizeOf))
        {
            if (!IsValid(row)) return STATUS_INVALID_PARAMETER;
            if ((row.Flags & (RTL_QUERY_REGISTRY_TOPKEY | RTL_QUERY_REGISTRY_SUBKEY)) != 0) key = top!;
            status = (row.Flags & RTL_QUERY_REGISTRY_SUBKEY) != 0 ? Descend(ref key, row, Context) : Query(key, row, Context);
            if (status < 0) return status;
        }
        return STATUS_SUCCESS;
    }

    /// <summary>As <see cref="RtlQueryRegistryValues"/>; rows with RTL_QUERY_REGISTRY_DIRECT must have RTL_QUERY_REGISTRY_TYPECHECK too.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS RtlQueryRegistryValuesEx(uint RelativeTo, PWSTR Path, PRTL_QUERY_REGISTRY_TABLE QueryTable, PVOID Context, PVOID Environment)
    {
        for (PRTL_QUERY_REGISTRY_TABLE row = QueryTable; !IsEnd(row); row = new PRTL_QUERY_REGISTRY_TABLE(row.Address + RTL_QUERY_REGISTRY_TABLE.SizeOf))
        {
            if ((row.Flags & (RTL_QUERY_REGISTRY_DIRECT | RTL_QUERY_REGISTRY_TYPECHECK)) == RTL_QUERY_REGISTRY_DIRECT) return STATUS_INVALID_PARAMETER;
        }
        return RtlQueryRegistryValues(RelativeTo, Path, QueryTable, Context, Environment);
    }

    static bool IsEnd(PRTL_QUERY_REGISTRY_TABLE row) =>
        row.QueryRoutine.IsNull && (row.Flags & (RTL_QUERY_REGISTRY_SUBKEY | RTL_QUERY_REGISTRY_DIRECT)) == 0;

    static bool IsValid(PRTL_QUERY_REGISTRY_TABLE row)
    {
        if ((row.Flags & RTL_QUERY_REGISTRY_SUBKEY) != 0 && row.Name.IsNull) return false;
        if ((row.Flags & RTL_QUERY_REGISTRY_DIRECT) == 0) return true;
        return !row.Name.IsNull && row.QueryRoutine.IsNull && (row.Flags & RTL_QUERY_REGISTRY_SUBKEY) == 0;
    }

    NTSTATUS Descend(ref RegistryKey key, PRTL_QUERY_REGISTRY_TABLE row, PVOID context)
    {
        string path = $@"{key.FullName}\{Strings.Read(row.Name)}";
        if (Registry.Find(path) is not { } subkey) return STATUS_OBJECT_NAME_NOT_FOUND;
        key = subkey;
        return row.QueryRoutine.IsNull ? STATUS_SUCCESS : QueryAll(key, row, context);
    }

    NTSTATUS Query(RegistryKey key, PRTL_QUERY_REGISTRY_TABLE row, PVOID context)
    {
        if (row.Name.IsNull)
            return (row.Flags & RTL_QUERY_REGISTRY_NOVALUE) != 0 ? Tell(row, null, REG_NONE, null, context) : QueryAll(key, row, context);
        string name = Strings.Read(row.Name);
        RegistryValue? value;
        lock (Registry.Gate) value = key.Value(name);
        if (value is null) return (row.Flags & RTL_QUERY_REGISTRY_REQUIRED) != 0 ? STATUS_OBJECT_NAME_NOT_FOUND : HandOverDefault(row, name, context);
        NTSTATUS status = HandOver(row, value, context);
        if (status >= 0 && (row.Flags & RTL_QUERY_REGISTRY_DELETE) != 0) Registry.RemoveValue(key, name);
        return status;
    }

    NTSTATUS QueryAll(RegistryKey key, PRTL_QUERY_REGISTRY_TABLE row, PVOID context)
    {
        RegistryValue[] values;
        lock (Registry.Gate) values = [.. key.Values];
        if (values.Length == 0 && (row.Flags & RTL_QUERY_REGISTRY_REQUIRED) != 0) return STATUS_OBJECT_NAME_NOT_FOUND;
        foreach (RegistryValue value in values)
        {
            NTSTATUS status = HandOver(row, value, context);
            if (status < 0) return status;
            if ((row.Flags & RTL_QUERY_REGISTRY_DELETE) != 0) Registry.RemoveValue(key, value.Name);
        }
        return STATUS_SUCCESS;
    }

    NTSTATUS HandOverDefault(PRTL_QUERY_REGISTRY_TABLE row, string name, PVOID context)
    {
        uint type = row.DefaultType & 0xFF;
        if (type == REG_NONE) return STATUS_SUCCESS;
        int length = row.DefaultLength != 0 ? (int)row.DefaultLength : LengthOfText(type, row.DefaultData);
        byte[] data = length == 0 ? [] : GuestMemory.Read(row.DefaultData.Address, length).ToArray();
        return HandOver(row, new RegistryValue(name, type, data), context, isDefault: true);
    }

    // What DefaultLength 0 stands for: up to and including the terminator, the empty string's in a REG_MULTI_SZ.
    static int LengthOfText(uint type, PVOID data)
    {
        if (type is not (REG_SZ or REG_EXPAND_SZ or REG_MULTI_SZ) || data.IsNull) return 0;
        var text = new PWSTR(data.Address);
        if (type != REG_MULTI_SZ) return 2 * (Strings.Read(text).Length + 1);
        int characters = 0;
        for (string part; (part = Strings.Read(new PWSTR(data.Address + 2 * (ulong)characters))).Length > 0;) characters += part.Length + 1;
        return 2 * (characters + 1);
    }

    NTSTATUS HandOver(PRTL_QUERY_REGISTRY_TABLE row, RegistryValue value, PVOID context, bool isDefault = false)
    {
        bool checksType = (row.Flags & RTL_QUERY_REGISTRY_TYPECHECK) != 0 && (row.Flags & RTL_QUERY_REGISTRY_DIRECT) != 0;
        if (checksType && !isDefault && value.Type != row.DefaultType >> 24) return STATUS_OBJECT_TYPE_MISMATCH;
        if ((row.Flags & RTL_QUERY_REGISTRY_NOEXPAND) == 0)
        {
            if (value.Type == REG_EXPAND_SZ) value = new RegistryValue(value.Name, REG_SZ, Bytes(Expand(Text(value.Data))));
            if (value.Type == REG_MULTI_SZ)
            {
                foreach (string part in Text(value.Data).Split('\0', StringSplitOptions.RemoveEmptyEntries))
                {
                    NTSTATUS status = HandOverAsItIs(row, new RegistryValue(value.Name, REG_SZ, Bytes(part)), context);
                    if (status < 0) return status;
                }
                return STATUS_SUCCESS;
            }
        }
        return HandOverAsItIs(row, value, context);
    }

    NTSTATUS HandOverAsItIs(PRTL_QUERY_REGISTRY_TABLE row, RegistryValue value, PVOID context) =>
        (row.Flags & RTL_QUERY_REGISTRY_DIRECT) != 0 ? Store(row.EntryContext, value) : Tell(row, value.Name, value.Type, value.Data, context);

    static string Text(byte[] data) => new string(MemoryMarshal.Cast<byte, char>(data)).TrimEnd('\0');

    static byte[] Bytes(string text) => MemoryMarshal.AsBytes((text + '\0').AsSpan()).ToArray();

    static string Expand(string text) => text.Replace("%SystemRoot%", @"\SystemRoot", StringComparison.OrdinalIgnoreCase);

    NTSTATUS Tell(PRTL_QUERY_REGISTRY_TABLE row, string? name, uint type, byte[]? data, PVOID context)
    {
        byte[] nameBytes = name is null ? [] : Bytes(name);
        int dataOffset = (nameBytes.Length + 7) & ~7;
        ulong block = machine.Pool.Allocate(POOL_TYPE.PagedPool, (ulong)(dataOffset + (data?.Length ?? 0) + 8), Tag, 0);
        if (block == 0) return STATUS_INSUFFICIENT_RESOURCES;
        if (name is not null) nameBytes.CopyTo(GuestMemory.Write(block, nameBytes.Length));
        if (data is { Length: > 0 }) data.CopyTo(GuestMemory.Write(block + (ulong)dataOffset, data.Length));
        PWSTR nameAddress = name is null ? default : new PWSTR(block);
        PVOID dataAddress = data is null ? default : new PVOID(block + (ulong)dataOffset);
        NTSTATUS status = machine.Code.Call(row.QueryRoutine, nameAddress, type, dataAddress, (uint)(data?.Length ?? 0), context, row.EntryContext);
        machine.Pool.Free(block, Tag);
        return status == STATUS_BUFFER_TOO_SMALL ? STATUS_SUCCESS : status;
    }

    NTSTATUS Store(PVOID target, RegistryValue value) =>
        value.Type is REG_SZ or REG_EXPAND_SZ or REG_MULTI_SZ ? StoreText(new PUNICODE_STRING(target.Address), value.Data) : StoreData(target, value);

    NTSTATUS StoreText(PUNICODE_STRING target, byte[] data)
    {
        if (data.Length > ushort.MaxValue) return STATUS_BUFFER_TOO_SMALL;
        if (target.Buffer.IsNull)
        {
            ulong buffer = machine.Pool.Allocate(POOL_TYPE.PagedPool, (ulong)Math.Max(2, data.Length), Tag, 0, zero: true);
            if (buffer == 0) return STATUS_INSUFFICIENT_RESOURCES;
            target.Buffer = new PWSTR(buffer);
            target.MaximumLength = (ushort)data.Length;
        }
        else if (data.Length > target.MaximumLength)
        {
            return STATUS_BUFFER_TOO_SMALL;
        }
        if (data.Length > 0) data.CopyTo(GuestMemory.Write(target.Buffer.Address, data.Length));
        target.Length = (ushort)Math.Max(0, data.Length - 2); // without the terminator
        return STATUS_SUCCESS;
    }

    /// <summary>Small data as it is. For larger data the buffer begins with its own size; a negative one asks for the data alone.</summary>
    static NTSTATUS StoreData(PVOID target, RegistryValue value)
    {
        byte[] data = value.Data;
        if (data.Length <= sizeof(uint))
        {
            if (data.Length > 0) data.CopyTo(GuestMemory.Write(target.Address, data.Length));
            return STATUS_SUCCESS;
        }
        int size = GuestMemory.Ref<int>(target.Address);
        const int header = 2 * sizeof(uint);
        int offset = size < 0 ? 0 : header;
        if (Math.Abs((long)size) < offset + data.Length) return STATUS_BUFFER_TOO_SMALL;
        if (offset > 0)
        {
            GuestMemory.Ref<int>(target.Address) = data.Length;
            GuestMemory.Ref<uint>(target.Address + sizeof(uint)) = value.Type;
        }
        data.CopyTo(GuestMemory.Write(target.Address + (ulong)offset, data.Length));
        return STATUS_SUCCESS;
    }
}
