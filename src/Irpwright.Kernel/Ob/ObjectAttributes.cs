using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What an OBJECT_ATTRIBUTES says, read once.</summary>
/// <param name="Name">Null for no name.</param>
/// <param name="Root">What the name is relative to; null for the root of the namespace.</param>
readonly record struct ObjectAttributes(string? Name, KernelObject? Root, OBJ_FLAGS Flags, PVOID SecurityDescriptor)
{
    const OBJ_FLAGS Valid = OBJ_INHERIT | OBJ_PERMANENT | OBJ_EXCLUSIVE | OBJ_CASE_INSENSITIVE | OBJ_OPENIF | OBJ_OPENLINK | OBJ_KERNEL_HANDLE |
        OBJ_FORCE_ACCESS_CHECK | OBJ_IGNORE_IMPERSONATED_DEVICEMAP | OBJ_DONT_REPARSE;

    /// <summary>Whether the flags are ones that a handle may be asked for with.</summary>
    internal static bool AreValid(OBJ_FLAGS flags) =>
        (flags & ~Valid) == 0 && (flags & (OBJ_INHERIT | OBJ_EXCLUSIVE)) != (OBJ_INHERIT | OBJ_EXCLUSIVE);

    /// <summary>Reads the attributes of a call made in kernel mode.</summary>
    /// <param name="address">Null for an object without a name.</param>
    /// <returns>STATUS_INVALID_PARAMETER, STATUS_OBJECT_NAME_INVALID, or what is wrong with the RootDirectory handle.</returns>
    /// <seealso href="https://learn.microsoft.com/windows/win32/api/ntdef/ns-ntdef-_object_attributes"/>
    internal static NTSTATUS Read(Machine machine, POBJECT_ATTRIBUTES address, out ObjectAttributes attributes)
    {
        attributes = default;
        if (address.IsNull) return STATUS_SUCCESS;
        if (address.Length != OBJECT_ATTRIBUTES.SizeOf || !AreValid(address.Attributes)) return STATUS_INVALID_PARAMETER;
        string? name = null;
        if (!address.ObjectName.IsNull)
        {
            if (address.ObjectName.Length % 2 != 0) return STATUS_OBJECT_NAME_INVALID;
            name = Strings.Read(address.ObjectName);
            if (name.Length == 0) name = null;
        }
        KernelObject? root = null;
        if (!address.RootDirectory.IsNull)
        {
            NTSTATUS status = machine.Handles.Find(address.RootDirectory, MODE.KernelMode, out HandleEntry? entry);
            if (status < 0) return status;
            root = entry!.Object;
        }
        attributes = new ObjectAttributes(name, root, address.Attributes, address.SecurityDescriptor);
        return STATUS_SUCCESS;
    }
}
