using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ob;

/// <summary>A driver test that creates and opens objects by name.</summary>
public abstract class ObjectTest : DriverTest
{
    /// <summary>Attributes as InitializeObjectAttributes makes them; no name for null.</summary>
    protected POBJECT_ATTRIBUTES Attributes(string? name, OBJ_FLAGS flags = OBJ_KERNEL_HANDLE, HANDLE root = default, PVOID security = default)
    {
        var attributes = new POBJECT_ATTRIBUTES(Memory(OBJECT_ATTRIBUTES.SizeOf).Address);
        InitializeObjectAttributes(attributes, name is null ? default : RTL_CONSTANT_STRING(name), flags, root, security);
        return attributes;
    }

    /// <summary>A new directory, and a handle to it.</summary>
    protected HANDLE Directory(string? name = null, OBJ_FLAGS flags = OBJ_KERNEL_HANDLE, HANDLE root = default)
    {
        Assert.Equal(STATUS_SUCCESS, ZwCreateDirectoryObject(out HANDLE handle, DIRECTORY_ALL_ACCESS, Attributes(name, flags, root)));
        return handle;
    }

    /// <summary>Whether a name leads to an object of any type.</summary>
    protected bool Exists(string name) => Machine.Objects.TryFind(name, out _, out string rest) && rest.Length == 0;

    /// <summary>The object behind a handle; no reference stays.</summary>
    protected PVOID Object(HANDLE handle)
    {
        Assert.Equal(STATUS_SUCCESS, ObReferenceObjectByHandle(handle, 0, default, KernelMode, out PVOID found, default));
        ObDereferenceObject(found);
        return found;
    }

    /// <summary>Handles and references of the object behind a handle, as ZwQueryObject tells them.</summary>
    protected (uint Handles, uint Pointers) Counts(HANDLE handle)
    {
        var information = new PPUBLIC_OBJECT_BASIC_INFORMATION(Memory(PUBLIC_OBJECT_BASIC_INFORMATION.SizeOf).Address);
        Assert.Equal(STATUS_SUCCESS,
            ZwQueryObject(handle, ObjectBasicInformation, information, PUBLIC_OBJECT_BASIC_INFORMATION.SizeOf, default));
        return (information.HandleCount, information.PointerCount);
    }
}
