using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Objects that are created or opened by OBJECT_ATTRIBUTES; directories and symbolic links.</summary>
public sealed class NamedObjects
{
    readonly Machine machine;

    internal NamedObjects(Machine machine) => this.machine = machine;

    ObjectTypes Types => machine.Objects.Types;

    // ---- For every type of objects

    /// <summary>Creates an object with the name and the handle that the attributes ask for.</summary>
    /// <param name="size">Bytes.</param>
    /// <param name="initialize">Fills in the new object before anybody can find it.</param>
    /// <returns>
    /// STATUS_OBJECT_NAME_EXISTS, a success, when OBJ_OPENIF found the object there; STATUS_OBJECT_NAME_COLLISION without that flag;
    /// STATUS_INSUFFICIENT_RESOURCES; or what is wrong with the attributes.
    /// </returns>
    internal NTSTATUS Create(ObjectType type, ulong size, uint access, POBJECT_ATTRIBUTES attributes, Action<KernelObject> initialize, out HANDLE handle)
    {
        handle = default;
        NTSTATUS status = ObjectAttributes.Read(machine, attributes, out ObjectAttributes wanted);
        if (status < 0) return status;
        if (wanted.Name is not null && machine.Objects.Look(wanted.Name, wanted.Root).Object is { } existing)
            return (wanted.Flags & OBJ_OPENIF) != 0 ? OpenExisting(existing, type, access, wanted.Flags, out handle) : STATUS_OBJECT_NAME_COLLISION;

        var address = new PVOID(machine.Objects.Create(type, size));
        if (address.IsNull) return STATUS_INSUFFICIENT_RESOURCES;
        KernelObject created = machine.Objects.Require(address);
        initialize(created);
        if (!wanted.SecurityDescriptor.IsNull) created.SecurityDescriptor = SecurityDescriptors.Capture(wanted.SecurityDescriptor);
        bool isPermanent = wanted.Name is not null && (wanted.Flags & OBJ_PERMANENT) != 0;
        // The handle comes first: without one, the name of a temporary object would be gone at once.
        status = machine.Handles.Open(created, access, wanted.Flags, out handle);
        if (status >= 0 && wanted.Name is not null)
            status = machine.Objects.SetName(address.Address, wanted.Name, isPermanent ? NameLifetime.Permanent : NameLifetime.Handles, wanted.Root);
        if (status < 0 && !handle.IsNull) machine.Handles.ZwClose(handle);
        if (status < 0) handle = default;
        if (status < 0 || !isPermanent) machine.Objects.ObfDereferenceObject(address);
        return status;
    }

    NTSTATUS OpenExisting(KernelObject existing, ObjectType type, uint access, OBJ_FLAGS flags, out HANDLE handle)
    {
        handle = default;
        if (existing.Type != type) return STATUS_OBJECT_TYPE_MISMATCH;
        NTSTATUS status = machine.Handles.Open(existing, access, flags, out handle);
        return status < 0 ? status : STATUS_OBJECT_NAME_EXISTS;
    }

    /// <summary>Opens an object that exists by its name.</summary>
    /// <param name="type">Null for any.</param>
    /// <returns>
    /// STATUS_INVALID_PARAMETER, STATUS_OBJECT_PATH_SYNTAX_BAD, STATUS_OBJECT_NAME_INVALID, STATUS_OBJECT_NAME_NOT_FOUND,
    /// STATUS_OBJECT_PATH_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH, STATUS_ACCESS_DENIED.
    /// </returns>
    internal NTSTATUS Open(ObjectType? type, uint access, POBJECT_ATTRIBUTES attributes, out HANDLE handle)
    {
        handle = default;
        if (attributes.IsNull) return STATUS_INVALID_PARAMETER;
        NTSTATUS status = ObjectAttributes.Read(machine, attributes, out ObjectAttributes wanted);
        if (status < 0) return status;
        bool opensLink = type == Types.SymbolicLink || (wanted.Flags & OBJ_OPENLINK) != 0;
        status = Find(wanted.Name ?? "", wanted.Root, type, !opensLink, out KernelObject? found);
        return status < 0 ? status : machine.Handles.Open(found!, access, wanted.Flags, out handle);
    }

    NTSTATUS Find(string name, KernelObject? root, ObjectType? type, bool followLast, out KernelObject? found)
    {
        ObjectNamespace.Place place = machine.Objects.Look(name, root, followLast);
        found = place.Object;
        if (found is null) return place.Status;
        return place.Rest.Length > 0 || (type is not null && found.Type != type) ? STATUS_OBJECT_TYPE_MISMATCH : STATUS_SUCCESS;
    }

    /// <summary>Fills in an OBJECT_ATTRIBUTES.</summary>
    /// <param name="n">Name; may be null.</param>
    /// <param name="r">Directory that the name is relative to; 0 for the root.</param>
    /// <param name="s">Security descriptor; may be null.</param>
    [WdkInline]
    public void InitializeObjectAttributes(POBJECT_ATTRIBUTES p, PUNICODE_STRING n, OBJ_FLAGS a, HANDLE r, PVOID s) =>
        p.Value = new OBJECT_ATTRIBUTES { Length = OBJECT_ATTRIBUTES.SizeOf, RootDirectory = r, ObjectName = n, Attributes = a, SecurityDescriptor = s };

    /// <summary>The object with a name, referenced for the caller. Not documented; filters find other drivers by it. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="PassedAccessState">Not looked at: every access is granted.</param>
    /// <param name="ParseContext">For parts of names behind devices, which this routine does not follow.</param>
    /// <returns>STATUS_OBJECT_TYPE_MISMATCH, or why the name leads nowhere.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ObReferenceObjectByName(PUNICODE_STRING ObjectName, OBJ_FLAGS Attributes, PVOID PassedAccessState, uint DesiredAccess,
        POBJECT_TYPE ObjectType, MODE AccessMode, PVOID ParseContext, out PVOID Object)
    {
        Object = default;
        ObjectType? type = Types.All.FirstOrDefault(t => t.Object == ObjectType);
        NTSTATUS status = Find(Strings.Read(ObjectName), null, type, (Attributes & OBJ_OPENLINK) == 0, out KernelObject? found);
        if (status < 0) return status;
        Object = new PVOID(found!.Address);
        machine.Objects.ObfReferenceObject(Object);
        return STATUS_SUCCESS;
    }

    /// <summary>Ends the permanence of an object: its name goes with its last handle. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INVALID_HANDLE. An object that is temporary already stays as it is.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwMakeTemporaryObject(HANDLE Handle)
    {
        NTSTATUS status = machine.Handles.Find(Handle, MODE.KernelMode, out HandleEntry? entry);
        if (status >= 0) machine.Objects.MakeTemporary(entry!.Object);
        return status;
    }

    // ---- Directories

    /// <summary>Creates an object directory, or opens it with OBJ_OPENIF. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="Create"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwCreateDirectoryObject(out HANDLE DirectoryHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes) =>
        Create(Types.Directory, ObjectNamespace.OpaqueSize, DesiredAccess, ObjectAttributes, static _ => { }, out DirectoryHandle);

    /// <summary>Opens an object directory. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="Open"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwOpenDirectoryObject(out HANDLE DirectoryHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes) =>
        Open(Types.Directory, DesiredAccess, ObjectAttributes, out DirectoryHandle);

    // ---- Symbolic links

    /// <summary>Creates a symbolic link that lives as long as its handles. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="Create"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwCreateSymbolicLinkObject(out HANDLE LinkHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes, PUNICODE_STRING LinkTarget)
    {
        string target = Strings.Read(LinkTarget);
        if (target.Length != 0)
            return Create(Types.SymbolicLink, ObjectNamespace.OpaqueSize, DesiredAccess, ObjectAttributes, link => link.Target = target, out LinkHandle);
        LinkHandle = default;
        return STATUS_INVALID_PARAMETER;
    }

    /// <summary>Opens a symbolic link itself, not what it leads to. IRQL = PASSIVE_LEVEL.</summary>
    /// <inheritdoc cref="Open"/>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwOpenSymbolicLinkObject(out HANDLE LinkHandle, uint DesiredAccess, POBJECT_ATTRIBUTES ObjectAttributes) =>
        Open(Types.SymbolicLink, DesiredAccess, ObjectAttributes, out LinkHandle);

    /// <summary>Tells where a symbolic link leads. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="LinkTarget">Its buffer receives the name, without a terminator.</param>
    /// <param name="ReturnedLength">May be null; receives the bytes of the name, also when they do not fit.</param>
    /// <returns>STATUS_BUFFER_TOO_SMALL, STATUS_INVALID_HANDLE, STATUS_OBJECT_TYPE_MISMATCH.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwQuerySymbolicLinkObject(HANDLE LinkHandle, PUNICODE_STRING LinkTarget, PULONG ReturnedLength)
    {
        NTSTATUS status = machine.Handles.Find(LinkHandle, SYMBOLIC_LINK_QUERY, Types.SymbolicLink, MODE.KernelMode, out HandleEntry? entry);
        if (status < 0) return status;
        string target = entry!.Object.Target!;
        int bytes = 2 * target.Length;
        if (!ReturnedLength.IsNull) ReturnedLength.Value = (uint)bytes;
        if (bytes > LinkTarget.MaximumLength) return STATUS_BUFFER_TOO_SMALL;
        MemoryMarshal.AsBytes(target.AsSpan()).CopyTo(GuestMemory.Write(LinkTarget.Buffer.Address, bytes));
        LinkTarget.Length = (ushort)bytes;
        return STATUS_SUCCESS;
    }

    /// <summary>Creates a permanent symbolic link from one object name to another. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_OBJECT_NAME_COLLISION, STATUS_INSUFFICIENT_RESOURCES, or what is wrong with the name.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS IoCreateSymbolicLink(PUNICODE_STRING SymbolicLinkName, PUNICODE_STRING DeviceName) =>
        machine.Objects.CreateLink(Strings.Read(SymbolicLinkName), Strings.Read(DeviceName));

    /// <summary>The same without access check on the link. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoCreateUnprotectedSymbolicLink(PUNICODE_STRING SymbolicLinkName, PUNICODE_STRING DeviceName) =>
        IoCreateSymbolicLink(SymbolicLinkName, DeviceName);

    /// <summary>Removes a symbolic link. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_OBJECT_NAME_NOT_FOUND, STATUS_OBJECT_TYPE_MISMATCH for what is no link.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS IoDeleteSymbolicLink(PUNICODE_STRING SymbolicLinkName)
    {
        NTSTATUS status = Find(Strings.Read(SymbolicLinkName), null, Types.SymbolicLink, followLast: false, out KernelObject? link);
        if (status >= 0) machine.Objects.MakeTemporary(link!);
        return status;
    }
}
