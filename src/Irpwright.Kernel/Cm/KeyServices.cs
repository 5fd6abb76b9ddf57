using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Registry keys and values by handle. All at PASSIVE_LEVEL; callers in kernel mode have every access.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/using-the-registry-in-a-driver"/>
public sealed class KeyServices
{
    const string LinkValue = "SymbolicLinkValue";

    readonly Machine machine;

    internal KeyServices(Machine machine) => this.machine = machine;

    Registry Registry => machine.Registry;

    /// <summary>Opens a key, or creates it in a key that exists.</summary>
    /// <param name="TitleIndex">Not used; 0.</param>
    /// <param name="Class">May be null.</param>
    /// <param name="Disposition">REG_CREATED_NEW_KEY or REG_OPENED_EXISTING_KEY; may be null.</param>
    /// <returns>STATUS_OBJECT_NAME_NOT_FOUND where a key above is missing, STATUS_CHILD_MUST_BE_VOLATILE, STATUS_KEY_DELETED, STATUS_INVALID_PARAMETER.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS ZwCreateKey(out HANDLE KeyHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, uint TitleIndex, PUNICODE_STRING Class,
        uint CreateOptions, PULONG Disposition)
    {
        const uint known = REG_OPTION_VOLATILE | REG_OPTION_CREATE_LINK | REG_OPTION_BACKUP_RESTORE | REG_OPTION_OPEN_LINK;
        KeyHandle = default;
        if ((CreateOptions & ~known) != 0) return STATUS_INVALID_PARAMETER;
        bool isVolatile = (CreateOptions & REG_OPTION_VOLATILE) != 0;
        string? className = Class.IsNull ? null : Strings.Read(Class);
        bool created = false;
        NTSTATUS status = Open(ObjectAttributes, DesiredAccess, RegNtPreCreateKeyEx, RegNtPostCreateKeyEx, CreateOptions, Class, (parent, name) =>
        {
            if (parent.IsVolatile && !isVolatile) return (STATUS_CHILD_MUST_BE_VOLATILE, null);
            RegistryKey key = parent.Add(name, isVolatile, machine.Time.Now);
            key.Class = className;
            created = true;
            return (STATUS_SUCCESS, key);
        }, out KeyHandle);
        if (status >= 0 && !Disposition.IsNull) Disposition.Value = created ? REG_CREATED_NEW_KEY : REG_OPENED_EXISTING_KEY;
        return status;
    }

    /// <summary>Opens a key.</summary>
    /// <returns>STATUS_OBJECT_NAME_NOT_FOUND, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH, STATUS_KEY_DELETED.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS ZwOpenKey(out HANDLE KeyHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes) =>
        Open(ObjectAttributes, DesiredAccess, RegNtPreOpenKeyEx, RegNtPostOpenKeyEx, 0, default, null, out KeyHandle);

    NTSTATUS Open(POBJECT_ATTRIBUTES attributes, uint access, REG_NOTIFY_CLASS before, REG_NOTIFY_CLASS after, uint options, PUNICODE_STRING className,
        Func<RegistryKey, string, (NTSTATUS, RegistryKey?)>? create, out HANDLE handle)
    {
        HANDLE opened = default;
        NTSTATUS status = machine.RegistryCallbacks.Around(before, after, default, 0x50, block =>
        {
            if (attributes.IsNull) return;
            PREG_CREATE_KEY_INFORMATION_V1 fields = new(block);
            fields.CompleteName = fields.RemainingName = attributes.ObjectName;
            if (machine.Handles.Find(attributes.RootDirectory, 0, machine.Objects.Types.Key, MODE.KernelMode, out HandleEntry? root) >= 0)
                fields.RootObject = new PVOID(root!.Object.Address);
            fields.Options = options;
            fields.Class = className;
            fields.DesiredAccess = access;
            fields.Attributes = (uint)attributes.Attributes;
            fields.Version = 1;
        }, () => Registry.Open(attributes, access, create, out opened, out _), () => ObjectOf(opened));
        handle = opened;
        return status;
    }

    PVOID ObjectOf(HANDLE handle) =>
        machine.Handles.Find(handle, 0, machine.Objects.Types.Key, MODE.KernelMode, out HandleEntry? entry) < 0 ? default : new PVOID(entry!.Object.Address);

    /// <summary>Does something with the key of a handle, with the routines of drivers called before and after.</summary>
    NTSTATUS Filtered(HANDLE handle, REG_NOTIFY_CLASS before, REG_NOTIFY_CLASS after, ulong callContextOffset, Action<ulong> fillIn, Func<NTSTATUS> operation) =>
        machine.RegistryCallbacks.Any && ObjectOf(handle) is { IsNull: false } key
            ? machine.RegistryCallbacks.Around(before, after, key, callContextOffset, fillIn, operation) : operation();

    /// <summary>As <see cref="ZwOpenKey"/>, with REG_OPTION_OPEN_LINK or REG_OPTION_BACKUP_RESTORE.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwOpenKeyEx(out HANDLE KeyHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, uint OpenOptions)
    {
        KeyHandle = default;
        return (OpenOptions & ~(REG_OPTION_OPEN_LINK | REG_OPTION_BACKUP_RESTORE)) != 0 ? STATUS_INVALID_PARAMETER
            : ZwOpenKey(out KeyHandle, DesiredAccess, ObjectAttributes);
    }

    /// <summary>Deletes a key that has no subkeys; handles to it become good for closing only.</summary>
    /// <returns>STATUS_CANNOT_DELETE, STATUS_KEY_DELETED, STATUS_INVALID_HANDLE.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwDeleteKey(HANDLE KeyHandle) => Filtered(KeyHandle, RegNtPreDeleteKey, RegNtPostDeleteKey, 0x08, static _ => { }, () => With(KeyHandle, key =>
    {
        if (key.Subkeys.Count > 0 || key.Parent is null) return STATUS_CANNOT_DELETE;
        key.Delete(machine.Time.Now);
        return STATUS_SUCCESS;
    }));

    /// <summary>Gives a key another name.</summary>
    /// <returns>STATUS_INVALID_PARAMETER, STATUS_CANNOT_DELETE where the name is taken, STATUS_KEY_DELETED, STATUS_INVALID_HANDLE.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwRenameKey(HANDLE KeyHandle, PUNICODE_STRING NewName)
    {
        string name = Strings.Read(NewName);
        if (name.Length is 0 or > 255 || name.Contains('\\')) return STATUS_INVALID_PARAMETER;
        return Filtered(KeyHandle, RegNtPreRenameKey, RegNtPostRenameKey, 0x10, block => new PREG_RENAME_KEY_INFORMATION(block).NewName = NewName,
            () => With(KeyHandle, key => key.Parent is not null && key.Rename(name, machine.Time.Now) ? STATUS_SUCCESS : STATUS_CANNOT_DELETE));
    }

    /// <summary>Writes a key to disk: there is none, so only the handle is looked at.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwFlushKey(HANDLE KeyHandle) =>
        Filtered(KeyHandle, RegNtPreFlushKey, RegNtPostFlushKey, 0x08, static _ => { }, () => With(KeyHandle, static _ => STATUS_SUCCESS));

    /// <summary>Tells about a key.</summary>
    /// <param name="KeyInformation">May be null when <paramref name="Length"/> is 0.</param>
    /// <returns>STATUS_BUFFER_TOO_SMALL, with nothing written; STATUS_BUFFER_OVERFLOW, with what fits; STATUS_INVALID_PARAMETER.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwQueryKey(HANDLE KeyHandle, KEY_INFORMATION_CLASS KeyInformationClass, PVOID KeyInformation, uint Length, out uint ResultLength) =>
        Answer(KeyHandle, RegNtPreQueryKey, RegNtPostQueryKey, 0x28, (block, resultLength) =>
        {
            PREG_QUERY_KEY_INFORMATION fields = new(block);
            (fields.KeyInformationClass, fields.KeyInformation, fields.Length, fields.ResultLength) = (KeyInformationClass, KeyInformation, Length, new PULONG(resultLength));
        }, key => (STATUS_SUCCESS, KeyInformationOf(key, KeyInformationClass)), KeyInformation, Length, out ResultLength);

    /// <summary>Tells about the n-th subkey, counted from 0.</summary>
    /// <returns>As <see cref="ZwQueryKey"/>, and STATUS_NO_MORE_ENTRIES.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwEnumerateKey(
        HANDLE KeyHandle, uint Index, KEY_INFORMATION_CLASS KeyInformationClass, PVOID KeyInformation, uint Length, out uint ResultLength) =>
        Answer(KeyHandle, RegNtPreEnumerateKey, RegNtPostEnumerateKey, 0x28, (block, resultLength) =>
        {
            PREG_ENUMERATE_KEY_INFORMATION fields = new(block);
            (fields.Index, fields.KeyInformationClass, fields.KeyInformation, fields.Length, fields.ResultLength) =
                (Index, KeyInformationClass, KeyInformation, Length, new PULONG(resultLength));
        }, key =>
        {
            if (KeyInformationClass > KEY_INFORMATION_CLASS.KeyFullInformation) return (STATUS_INVALID_PARAMETER, null);
            return Index >= key.Subkeys.Count ? (STATUS_NO_MORE_ENTRIES, null)
                : (STATUS_SUCCESS, KeyInformationOf(key.Subkeys.ElementAt((int)Index), KeyInformationClass));
        }, KeyInformation, Length, out ResultLength);

    /// <summary>Reads a value.</summary>
    /// <param name="ValueName">Empty for the default value.</param>
    /// <returns>STATUS_OBJECT_NAME_NOT_FOUND, and as <see cref="ZwQueryKey"/>.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS ZwQueryValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName, KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
        PVOID KeyValueInformation, uint Length, out uint ResultLength)
    {
        string name = Strings.Read(ValueName);
        return Answer(KeyHandle, RegNtPreQueryValueKey, RegNtPostQueryValueKey, 0x30, (block, resultLength) =>
        {
            PREG_QUERY_VALUE_KEY_INFORMATION fields = new(block);
            (fields.ValueName, fields.KeyValueInformationClass, fields.KeyValueInformation, fields.Length, fields.ResultLength) =
                (ValueName, KeyValueInformationClass, KeyValueInformation, Length, new PULONG(resultLength));
        }, key => key.Value(name) is { } value ? (STATUS_SUCCESS, ValueInformationOf(value, KeyValueInformationClass))
            : (STATUS_OBJECT_NAME_NOT_FOUND, null), KeyValueInformation, Length, out ResultLength);
    }

    /// <summary>Reads the n-th value, counted from 0.</summary>
    /// <returns>STATUS_NO_MORE_ENTRIES, and as <see cref="ZwQueryKey"/>.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwEnumerateValueKey(HANDLE KeyHandle, uint Index, KEY_VALUE_INFORMATION_CLASS KeyValueInformationClass,
        PVOID KeyValueInformation, uint Length, out uint ResultLength) =>
        Answer(KeyHandle, RegNtPreEnumerateValueKey, RegNtPostEnumerateValueKey, 0x28, (block, resultLength) =>
        {
            PREG_ENUMERATE_VALUE_KEY_INFORMATION fields = new(block);
            (fields.Index, fields.KeyValueInformationClass, fields.KeyValueInformation, fields.Length, fields.ResultLength) =
                (Index, KeyValueInformationClass, KeyValueInformation, Length, new PULONG(resultLength));
        }, key => Index >= key.Values.Count ? (STATUS_NO_MORE_ENTRIES, null)
            : (STATUS_SUCCESS, ValueInformationOf(key.Values[(int)Index], KeyValueInformationClass)), KeyValueInformation, Length, out ResultLength);

    /// <summary>Creates or replaces a value.</summary>
    /// <param name="ValueName">Empty for the default value.</param>
    /// <param name="TitleIndex">Not used; 0.</param>
    /// <param name="Type">REG_*.</param>
    /// <param name="DataSize">Bytes, the terminator of strings included.</param>
    /// <returns>STATUS_INVALID_HANDLE, STATUS_KEY_DELETED.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS ZwSetValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName, uint TitleIndex, uint Type, PVOID Data, uint DataSize)
    {
        var value = new RegistryValue(Strings.Read(ValueName), Type, DataSize == 0 ? [] : GuestMemory.Read(Data.Address, (int)DataSize).ToArray());
        return Filtered(KeyHandle, RegNtPreSetValueKey, RegNtPostSetValueKey, 0x28, block =>
        {
            PREG_SET_VALUE_KEY_INFORMATION fields = new(block);
            (fields.ValueName, fields.TitleIndex, fields.Type, fields.Data, fields.DataSize) = (ValueName, TitleIndex, Type, Data, DataSize);
        }, () => With(KeyHandle, key =>
        {
            key.Set(value, machine.Time.Now);
            if (Type == REG_LINK && value.Name == LinkValue) key.Target = new string(MemoryMarshal.Cast<byte, char>(value.Data));
            return STATUS_SUCCESS;
        }));
    }

    /// <summary>Deletes a value.</summary>
    /// <returns>STATUS_OBJECT_NAME_NOT_FOUND, STATUS_INVALID_HANDLE, STATUS_KEY_DELETED.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwDeleteValueKey(HANDLE KeyHandle, PUNICODE_STRING ValueName)
    {
        string name = Strings.Read(ValueName);
        return Filtered(KeyHandle, RegNtPreDeleteValueKey, RegNtPostDeleteValueKey, 0x10, block => new PREG_DELETE_VALUE_KEY_INFORMATION(block).ValueName = ValueName,
            () => With(KeyHandle, key => key.RemoveValue(name, machine.Time.Now) ? STATUS_SUCCESS : STATUS_OBJECT_NAME_NOT_FOUND));
    }

    NTSTATUS With(HANDLE handle, Func<RegistryKey, NTSTATUS> action)
    {
        NTSTATUS status = Registry.Find(handle, out RegistryKey key);
        if (status < 0) return status;
        lock (Registry.Gate) return action(key);
    }

    /// <summary>The whole of what is asked for; of it, the part that must fit for anything to be written.</summary>
    sealed record Information(byte[] Bytes, int Required);

    NTSTATUS Answer(HANDLE handle, REG_NOTIFY_CLASS before, REG_NOTIFY_CLASS after, ulong callContextOffset, Action<ulong, ulong> fillIn,
        Func<RegistryKey, (NTSTATUS, Information?)> question, PVOID buffer, uint length, out uint resultLength)
    {
        if (!machine.RegistryCallbacks.Any || ObjectOf(handle) is not { IsNull: false } target) return Answer(handle, question, buffer, length, out resultLength);
        return machine.RegistryCallbacks.Around(before, after, target, callContextOffset, fillIn,
            () => (Answer(handle, question, buffer, length, out uint written), written), out resultLength);
    }

    NTSTATUS Answer(HANDLE handle, Func<RegistryKey, (NTSTATUS, Information?)> question, PVOID buffer, uint length, out uint resultLength)
    {
        resultLength = 0;
        NTSTATUS status = Registry.Find(handle, out RegistryKey key);
        if (status < 0) return status;
        Information? answer;
        lock (Registry.Gate) (status, answer) = question(key);
        if (status < 0) return status;
        if (answer is null) return STATUS_INVALID_PARAMETER;
        resultLength = (uint)answer.Bytes.Length;
        if (length < answer.Required) return STATUS_BUFFER_TOO_SMALL;
        int copied = (int)Math.Min(length, resultLength);
        answer.Bytes.AsSpan(0, copied).CopyTo(GuestMemory.Write(buffer.Address, copied));
        return copied < resultLength ? STATUS_BUFFER_OVERFLOW : STATUS_SUCCESS;
    }

    static Information? KeyInformationOf(RegistryKey key, KEY_INFORMATION_CLASS kind)
    {
        string className = key.Class ?? "";
        var answer = new Answering();
        int required;
        switch (kind)
        {
            case KEY_INFORMATION_CLASS.KeyBasicInformation:
                required = answer.Add(key.LastWriteTime).Add(0).Add(2 * key.Name.Length).Length;
                answer.Add(key.Name);
                break;
            case KEY_INFORMATION_CLASS.KeyNodeInformation:
                const int nodeHeader = 0x18;
                int classOffset = className.Length == 0 ? -1 : (nodeHeader + 2 * key.Name.Length + 3) & ~3;
                required = answer.Add(key.LastWriteTime).Add(0).Add(classOffset).Add(2 * className.Length).Add(2 * key.Name.Length).Length;
                answer.Add(key.Name);
                if (classOffset > 0) answer.PadTo(classOffset).Add(className);
                break;
            case KEY_INFORMATION_CLASS.KeyFullInformation:
                const int fullHeader = 0x2C;
                required = answer.Add(key.LastWriteTime).Add(0).Add(className.Length == 0 ? -1 : fullHeader).Add(2 * className.Length)
                    .Add(key.Subkeys.Count).Add(Longest(key.Subkeys, k => 2 * k.Name.Length)).Add(Longest(key.Subkeys, k => 2 * (k.Class?.Length ?? 0)))
                    .Add(key.Values.Count).Add(Longest(key.Values, v => 2 * v.Name.Length)).Add(Longest(key.Values, v => v.Data.Length)).Length;
                answer.Add(className);
                break;
            case KEY_INFORMATION_CLASS.KeyNameInformation:
                required = answer.Add(2 * key.FullName.Length).Length;
                answer.Add(key.FullName);
                break;
            case KEY_INFORMATION_CLASS.KeyCachedInformation:
                required = answer.Add(key.LastWriteTime).Add(0).Add(key.Subkeys.Count).Add(Longest(key.Subkeys, k => 2 * k.Name.Length))
                    .Add(key.Values.Count).Add(Longest(key.Values, v => 2 * v.Name.Length)).Add(Longest(key.Values, v => v.Data.Length))
                    .Add(2 * key.Name.Length).Add(0).Length;
                break;
            default:
                return null;
        }
        return new Information(answer.ToArray(), required);
    }

    static int Longest<T>(IEnumerable<T> items, Func<T, int> length) => items.Select(length).DefaultIfEmpty(0).Max();

    static Information? ValueInformationOf(RegistryValue value, KEY_VALUE_INFORMATION_CLASS kind)
    {
        var answer = new Answering();
        int required;
        switch (kind)
        {
            case KEY_VALUE_INFORMATION_CLASS.KeyValueBasicInformation:
                required = answer.Add(0).Add((int)value.Type).Add(2 * value.Name.Length).Length;
                answer.Add(value.Name);
                break;
            case KEY_VALUE_INFORMATION_CLASS.KeyValueFullInformation:
            case KEY_VALUE_INFORMATION_CLASS.KeyValueFullInformationAlign64:
                const int fullHeader = 0x14;
                int alignment = kind == KEY_VALUE_INFORMATION_CLASS.KeyValueFullInformation ? 4 : 8;
                int dataOffset = (fullHeader + 2 * value.Name.Length + alignment - 1) & -alignment;
                required = answer.Add(0).Add((int)value.Type).Add(dataOffset).Add(value.Data.Length).Add(2 * value.Name.Length).Length;
                answer.Add(value.Name).PadTo(dataOffset).Add(value.Data);
                break;
            case KEY_VALUE_INFORMATION_CLASS.KeyValuePartialInformation:
                required = answer.Add(0).Add((int)value.Type).Add(value.Data.Length).Length;
                answer.Add(value.Data);
                break;
            case KEY_VALUE_INFORMATION_CLASS.KeyValuePartialInformationAlign64:
                required = answer.Add((int)value.Type).Add(value.Data.Length).Length;
                answer.Add(value.Data);
                break;
            default:
                return null;
        }
        return new Information(answer.ToArray(), required);
    }

    /// <summary>A structure with something of variable length behind it, field by field.</summary>
    sealed class Answering
    {
        readonly List<byte> bytes = [];

        internal int Length => bytes.Count;

        internal Answering Add(int value)
        {
            Span<byte> field = stackalloc byte[4];
            BinaryPrimitives.WriteInt32LittleEndian(field, value);
            bytes.AddRange(field);
            return this;
        }

        internal Answering Add(long value) => Add((int)value).Add((int)(value >> 32));

        internal Answering Add(string text) => Add(MemoryMarshal.AsBytes(text.AsSpan()));

        internal Answering Add(ReadOnlySpan<byte> data)
        {
            bytes.AddRange(data);
            return this;
        }

        internal Answering PadTo(int offset)
        {
            while (bytes.Count < offset) bytes.Add(0);
            return this;
        }

        internal byte[] ToArray() => [.. bytes];
    }
}
