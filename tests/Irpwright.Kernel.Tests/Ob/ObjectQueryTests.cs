using Irpwright.Wdk;

namespace Irpwright.Kernel.Tests.Ob;

public class ObjectQueryTests : ObjectTest
{
    [Fact]
    public void The_name_of_an_object_is_its_whole_path() => Run(() =>
    {
        Assert.Equal(@"\Outer\Inner", Name(Object(Inner())));
        Assert.Equal(@"\", Name(Object(Open(@"\"))));
        Assert.Equal(@"\GLOBAL??", Name(Object(Open(@"\DosDevices"))));
        Assert.Equal(@"\Driver\test", Name(DriverObject));

        HANDLE Inner()
        {
            Directory(@"\Outer");
            return Directory(@"\Outer\Inner");
        }

        HANDLE Open(string name)
        {
            Assert.Equal(STATUS_SUCCESS, ZwOpenDirectoryObject(out HANDLE handle, DIRECTORY_QUERY, Attributes(name)));
            return handle;
        }
    });

    string Name(PVOID target)
    {
        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, ObQueryNameString(target, default, 0, out uint needed));
        var information = new POBJECT_NAME_INFORMATION(Memory((int)needed).Address);
        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, ObQueryNameString(target, information, needed - 1, out _));
        Assert.Equal(STATUS_SUCCESS, ObQueryNameString(target, information, needed, out uint written));
        Assert.Equal(needed, written);
        string name = Strings.Read(PUNICODE_STRING.To(ref information.Name));
        Assert.Equal(name.Length * 2 + 2, information.Name.MaximumLength);
        Assert.Equal(OBJECT_NAME_INFORMATION.SizeOf + (uint)information.Name.MaximumLength, needed);
        Assert.Equal(name, Strings.Read(information.Name.Buffer)); // terminated
        return name;
    }

    [Fact]
    public void An_object_without_a_name_has_an_empty_one() => Run(() =>
    {
        var information = new POBJECT_NAME_INFORMATION(Memory(OBJECT_NAME_INFORMATION.SizeOf).Address);
        Fill(information, OBJECT_NAME_INFORMATION.SizeOf);
        Assert.Equal(STATUS_SUCCESS, ObQueryNameString(Object(Directory()), information, OBJECT_NAME_INFORMATION.SizeOf, out uint length));
        Assert.Equal((uint)OBJECT_NAME_INFORMATION.SizeOf, length);
        Assert.Equal(new byte[OBJECT_NAME_INFORMATION.SizeOf], Bytes(information, OBJECT_NAME_INFORMATION.SizeOf));
    });

    [Fact]
    public void The_name_of_a_file_begins_with_its_device() => Run(() =>
    {
        Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: @"\Device\Files");
        Machine.Files.Open(@"\Device\Files\dir\a.txt", FILE_READ_DATA, 0, KernelMode, out PFILE_OBJECT file);
        Assert.Equal(@"\Device\Files\dir\a.txt", Name(file));
        Machine.Files.Close(file);
    });

    [Fact]
    public void A_handle_tells_access_counts_name_and_type_of_its_object() => Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS,
            ZwCreateDirectoryObject(out HANDLE handle, DIRECTORY_QUERY, Attributes(@"\Mine", OBJ_KERNEL_HANDLE | OBJ_INHERIT | OBJ_PERMANENT)));
        var length = new PULONG(Memory(4).Address);
        PVOID buffer = Memory(256);

        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, ZwQueryObject(handle, ObjectBasicInformation, buffer, 55, length));
        Assert.Equal(56u, length.Value);
        Assert.Equal(STATUS_SUCCESS, ZwQueryObject(handle, ObjectBasicInformation, buffer, 56, length));
        var basic = (PPUBLIC_OBJECT_BASIC_INFORMATION)buffer;
        Assert.Equal((OBJ_INHERIT | OBJ_PERMANENT, DIRECTORY_QUERY, 1u, 2u),
            (basic.Attributes, basic.GrantedAccess, basic.HandleCount, basic.PointerCount));

        Assert.Equal(STATUS_SUCCESS, ZwQueryObject(handle, ObjectNameInformation, buffer, 256, length));
        Assert.Equal(@"\Mine", Strings.Read(new PUNICODE_STRING(buffer.Address)));
        Assert.Equal(28u, length.Value);
        Assert.Equal(STATUS_INFO_LENGTH_MISMATCH, ZwQueryObject(handle, ObjectNameInformation, buffer, 27, default));

        Assert.Equal(STATUS_SUCCESS, ZwQueryObject(handle, ObjectTypeInformation, buffer, 256, default));
        Assert.Equal("Directory", Strings.Read(new PUNICODE_STRING(buffer.Address)));

        Assert.Equal(STATUS_INVALID_INFO_CLASS, ZwQueryObject(handle, (OBJECT_INFORMATION_CLASS)77, buffer, 256, default));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwQueryObject(new HANDLE(0x4444), ObjectTypeInformation, buffer, 256, default));
    });

    [Fact]
    public void Objects_without_a_name_have_no_security_descriptor() => Run(() =>
    {
        Assert.Equal(STATUS_SUCCESS, ObGetObjectSecurity(Object(Directory()), out PVOID descriptor, out BOOLEAN allocated));
        Assert.True(descriptor.IsNull);
        Assert.False(allocated);
        ObReleaseObjectSecurity(descriptor, allocated);
    });

    [Fact]
    public void Named_objects_have_a_self_relative_security_descriptor_and_open_files_that_of_their_device() => Run(() =>
    {
        PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: @"\Device\Files");
        Machine.Files.Open(@"\Device\Files", FILE_READ_DATA, 0, KernelMode, out PFILE_OBJECT file);
        int before = Machine.Pool.LiveBlocks.Count;
        byte[] ofDevice = Security(device);
        Assert.Equal(1, ofDevice[0]);
        Assert.Equal(0x8004, BitConverter.ToUInt16(ofDevice, 2)); // SE_SELF_RELATIVE | SE_DACL_PRESENT
        int dacl = BitConverter.ToInt32(ofDevice, 16);
        Assert.Equal(ofDevice.Length, dacl + BitConverter.ToUInt16(ofDevice, dacl + 2));
        Assert.Equal(ofDevice, Security(file));
        Assert.Equal(before, Machine.Pool.LiveBlocks.Count);
        Machine.Files.Close(file);
        Machine.Pool.FailAllocation = (_, _) => true;
        Assert.Equal(STATUS_INSUFFICIENT_RESOURCES, ObGetObjectSecurity(device, out _, out _));
    });

    /// <summary>The page of ZwSetSecurityObject.</summary>
    [Fact]
    public void Parts_of_a_security_descriptor_are_replaced_and_the_others_stay() => Run(() =>
    {
        const uint owner = 1, dacl = 4;
        PDEVICE_OBJECT device = Device((_, irp) => Complete(irp, STATUS_SUCCESS), name: @"\Device\Guarded");
        Assert.Equal(STATUS_SUCCESS, ObOpenObjectByPointer(device, OBJ_KERNEL_HANDLE, default, 0, default, KernelMode, out HANDLE handle));
        byte[] before = Security(device);
        byte[] acl = [2, 0, 8, 0, 0, 0, 0, 0];
        PVOID memory = Memory(0x40);
        Span<byte> bytes = GuestMemory.Write(memory.Address, 0x40);
        ((byte[])[1, 0, 4, 0x80]).CopyTo(bytes);
        BitConverter.TryWriteBytes(bytes[16..], 0x20);
        acl.CopyTo(bytes[0x20..]);

        Assert.Equal(STATUS_SUCCESS, ZwSetSecurityObject(handle, dacl, memory));
        byte[] after = Security(device);
        int oldDacl = BitConverter.ToInt32(before, 16);
        Assert.Equal([.. before[..oldDacl], .. acl], after);
        Assert.Equal(STATUS_SUCCESS, ZwSetSecurityObject(handle, owner, memory));
        Assert.Equal(0, BitConverter.ToInt32(Security(device), 4));

        Assert.Equal(STATUS_ACCESS_VIOLATION, ZwSetSecurityObject(handle, dacl, default));
        Assert.Equal(STATUS_INVALID_HANDLE, ZwSetSecurityObject(new HANDLE(0x4444), dacl, memory));
        Assert.Equal(STATUS_NO_SECURITY_ON_OBJECT, ZwSetSecurityObject(Directory(), dacl, memory));
        bytes[0] = 2;
        Assert.Equal(STATUS_UNKNOWN_REVISION, ZwSetSecurityObject(handle, dacl, memory));
        ZwClose(handle);
    });

    byte[] Security(PVOID target)
    {
        Assert.Equal(STATUS_SUCCESS, ObGetObjectSecurity(target, out PVOID descriptor, out BOOLEAN allocated));
        Assert.True(allocated);
        Assert.True(Machine.Pool.TryFind(descriptor.Address, out PoolBlock block));
        byte[] bytes = Bytes(descriptor, (int)block.Size);
        ObReleaseObjectSecurity(descriptor, allocated);
        return bytes;
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_security_descriptor_given_at_creation_is_kept_in_self_relative_form(bool isRelative) => Run(() =>
    {
        byte[] sid = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
        byte[] acl = [2, 0, 8, 0, 0, 0, 0, 0];
        PVOID memory = Memory(0x80);
        Span<byte> bytes = GuestMemory.Write(memory.Address, 0x80);
        bytes[0] = 1;
        BitConverter.TryWriteBytes(bytes[2..], (ushort)(isRelative ? 0x8004 : 0x0004));
        sid.CopyTo(bytes[0x40..]);
        acl.CopyTo(bytes[0x60..]);
        if (isRelative)
        {
            BitConverter.TryWriteBytes(bytes[4..], 0x40);
            BitConverter.TryWriteBytes(bytes[16..], 0x60);
        }
        else
        {
            BitConverter.TryWriteBytes(bytes[8..], memory.Address + 0x40);
            BitConverter.TryWriteBytes(bytes[32..], memory.Address + 0x60);
        }
        Assert.Equal(STATUS_SUCCESS, ZwCreateDirectoryObject(out HANDLE handle, 0, Attributes(@"\Mine", security: memory)));
        Assert.Equal([1, 0, 4, 0x80, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0, 0, .. sid, .. acl], Security(Object(handle)));
    });
}
