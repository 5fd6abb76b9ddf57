using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What can be asked about an object: name, type, handle, security descriptor; the last can be changed too.</summary>
public sealed class ObjectQueries
{
    const uint Tag = 0x7165536F; // "oSeq"

    readonly Machine machine;

    internal ObjectQueries(Machine machine) => this.machine = machine;

    /// <summary>Tells the name of an object. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="ObjectNameInfo">Receives the name with its characters behind it, terminated; empty for an object without a name.</param>
    /// <param name="Length">Its bytes.</param>
    /// <param name="ReturnLength">Bytes written, or needed.</param>
    /// <returns>STATUS_INFO_LENGTH_MISMATCH when it does not fit; nothing is written then.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS ObQueryNameString(PVOID Object, POBJECT_NAME_INFORMATION ObjectNameInfo, uint Length, out uint ReturnLength)
    {
        machine.Objects.Require(Object);
        return Write(machine.Objects.TryGetName(Object), ObjectNameInfo, OBJECT_NAME_INFORMATION.SizeOf, Length, out ReturnLength);
    }

    // A UNICODE_STRING at the beginning of a structure, its characters behind the structure.
    internal static NTSTATUS Write(string? name, PVOID buffer, int structure, uint length, out uint needed)
    {
        int bytes = name is null ? 0 : 2 * name.Length;
        needed = (uint)(structure + (name is null ? 0 : bytes + sizeof(char)));
        if (length < needed) return STATUS_INFO_LENGTH_MISMATCH;
        GuestMemory.Write(buffer.Address, (int)needed).Clear();
        if (name is null) return STATUS_SUCCESS;
        ulong characters = buffer.Address + (ulong)structure;
        MemoryMarshal.AsBytes(name.AsSpan()).CopyTo(GuestMemory.Write(characters, bytes));
        GuestMemory.Ref<UNICODE_STRING>(buffer.Address) =
            new UNICODE_STRING { Length = (ushort)bytes, MaximumLength = (ushort)(bytes + sizeof(char)), Buffer = new PWSTR(characters) };
        return STATUS_SUCCESS;
    }

    /// <summary>Tells about a handle and its object. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="ObjectInformation">PUBLIC_OBJECT_BASIC_INFORMATION, OBJECT_NAME_INFORMATION or PUBLIC_OBJECT_TYPE_INFORMATION.</param>
    /// <param name="ReturnLength">May be null; bytes written, or needed.</param>
    /// <returns>STATUS_INVALID_HANDLE, STATUS_INVALID_INFO_CLASS, STATUS_INFO_LENGTH_MISMATCH.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwQueryObject(HANDLE Handle, OBJECT_INFORMATION_CLASS ObjectInformationClass, PVOID ObjectInformation,
        uint ObjectInformationLength, PULONG ReturnLength)
    {
        NTSTATUS status = machine.Handles.Find(Handle, MODE.KernelMode, out HandleEntry? entry);
        if (status < 0) return status;
        uint needed;
        switch (ObjectInformationClass)
        {
            case ObjectBasicInformation:
                needed = PUBLIC_OBJECT_BASIC_INFORMATION.SizeOf;
                // For this class the length must be exact.
                status = ObjectInformationLength == needed ? STATUS_SUCCESS : STATUS_INFO_LENGTH_MISMATCH;
                if (status >= 0) ((PPUBLIC_OBJECT_BASIC_INFORMATION)ObjectInformation).Value = Describe(entry!);
                break;
            case ObjectNameInformation:
                string? name = machine.Objects.TryGetName(new PVOID(entry!.Object.Address));
                status = Write(name, ObjectInformation, OBJECT_NAME_INFORMATION.SizeOf, ObjectInformationLength, out needed);
                break;
            case ObjectTypeInformation:
                status = Write(entry!.Object.Type.Name, ObjectInformation, PUBLIC_OBJECT_TYPE_INFORMATION.SizeOf, ObjectInformationLength, out needed);
                break;
            default:
                return STATUS_INVALID_INFO_CLASS;
        }
        if (!ReturnLength.IsNull) ReturnLength.Value = needed;
        return status;
    }

    static PUBLIC_OBJECT_BASIC_INFORMATION Describe(HandleEntry entry)
    {
        (long pointers, long handles) = ObjectNamespace.CountsOf(entry.Object.Address);
        return new PUBLIC_OBJECT_BASIC_INFORMATION
        {
            Attributes = entry.Attributes | (entry.Object.NameLifetime == NameLifetime.Permanent ? OBJ_PERMANENT : 0),
            GrantedAccess = entry.Access,
            HandleCount = (uint)handles,
            PointerCount = (uint)pointers,
        };
    }

    /// <summary>A copy of an object's security descriptor, self-relative. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="SecurityDescriptor">NULL for an object that has none, as objects without a name.</param>
    /// <param name="MemoryAllocated">What ObReleaseObjectSecurity has to be told.</param>
    /// <returns>STATUS_INSUFFICIENT_RESOURCES.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ObGetObjectSecurity(PVOID Object, out PVOID SecurityDescriptor, out BOOLEAN MemoryAllocated)
    {
        SecurityDescriptor = default;
        MemoryAllocated = false;
        if (DescriptorOf(Protected(Object)) is not { } descriptor) return STATUS_SUCCESS;
        ulong copy = machine.Pool.Allocate(POOL_TYPE.PagedPool, (ulong)descriptor.Length, Tag, 0);
        if (copy == 0) return STATUS_INSUFFICIENT_RESOURCES;
        descriptor.CopyTo(GuestMemory.Write(copy, descriptor.Length));
        SecurityDescriptor = new PVOID(copy);
        MemoryAllocated = true;
        return STATUS_SUCCESS;
    }

    /// <summary>Replaces parts of an object's security descriptor. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="SecurityInformation">Which: owner (1), group (2), DACL (4), SACL (8).</param>
    /// <returns>
    /// STATUS_INVALID_HANDLE, STATUS_ACCESS_VIOLATION for none, STATUS_UNKNOWN_REVISION, STATUS_NO_SECURITY_ON_OBJECT for an object that has no
    /// descriptor.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwSetSecurityObject(HANDLE Handle, uint SecurityInformation, PVOID SecurityDescriptor)
    {
        NTSTATUS status = machine.Handles.Find(Handle, MODE.KernelMode, out HandleEntry? entry);
        if (status < 0) return status;
        if (SecurityDescriptor.IsNull) return STATUS_ACCESS_VIOLATION;
        if (GuestMemory.Ref<byte>(SecurityDescriptor.Address) != 1) return STATUS_UNKNOWN_REVISION;
        KernelObject target = Protected(new PVOID(entry!.Object.Address));
        // A device is protected whether it has a name or not.
        byte[]? descriptor = DescriptorOf(target) ?? (target.Type == machine.Objects.Types.Device ? SecurityDescriptors.Default(target.Type) : null);
        if (descriptor is null) return STATUS_NO_SECURITY_ON_OBJECT;
        target.SecurityDescriptor = SecurityDescriptors.Replace(descriptor, SecurityDescriptors.Capture(SecurityDescriptor), SecurityInformation);
        return STATUS_SUCCESS;
    }

    // An open device is protected by what the device is.
    KernelObject Protected(PVOID target)
    {
        KernelObject found = machine.Objects.Require(target);
        return found.Type == machine.Objects.Types.File && !((PFILE_OBJECT)target).DeviceObject.IsNull
            ? machine.Objects.Require(((PFILE_OBJECT)target).DeviceObject)
            : found;
    }

    static byte[]? DescriptorOf(KernelObject target) =>
        target.SecurityDescriptor ?? (target.IsNamed ? SecurityDescriptors.Default(target.Type) : null);

    /// <summary>Gives back what <see cref="ObGetObjectSecurity"/> returned. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ObReleaseObjectSecurity(PVOID SecurityDescriptor, BOOLEAN MemoryAllocated)
    {
        if (MemoryAllocated && !SecurityDescriptor.IsNull) machine.Pool.Free(SecurityDescriptor.Address, Tag);
    }
}
