using System.Text;
using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Cm;

/// <summary>A driver test with a key of its own.</summary>
public abstract class RegistryTest : DriverTest
{
    protected const string Path = @"\Registry\Machine\Software\Test";

    protected POBJECT_ATTRIBUTES Attributes(string name, HANDLE root = default, OBJ_FLAGS flags = OBJ_KERNEL_HANDLE | OBJ_CASE_INSENSITIVE)
    {
        var attributes = new POBJECT_ATTRIBUTES(Memory(OBJECT_ATTRIBUTES.SizeOf).Address);
        InitializeObjectAttributes(attributes, RTL_CONSTANT_STRING(name), flags, root, default);
        return attributes;
    }

    protected HANDLE Create(string name, HANDLE root = default, uint options = REG_OPTION_NON_VOLATILE, string? className = null)
    {
        PUNICODE_STRING itsClass = className is null ? default : RTL_CONSTANT_STRING(className);
        Assert.Equal(STATUS_SUCCESS, ZwCreateKey(out HANDLE key, KEY_ALL_ACCESS, Attributes(name, root), 0, itsClass, options, default));
        return key;
    }

    protected NTSTATUS Set(HANDLE key, string name, uint type, params byte[] data)
    {
        PVOID memory = Memory(data.Length + 1);
        if (data.Length > 0) data.CopyTo(GuestMemory.Write(memory.Address, data.Length));
        return ZwSetValueKey(key, RTL_CONSTANT_STRING(name), 0, type, memory, (uint)data.Length);
    }

    protected static byte[] Wide(string text) => Encoding.Unicode.GetBytes(text);

    protected PWSTR Text(string text) => RTL_CONSTANT_STRING(text + "\0").Buffer;
}
